"""`corrigenda why`: every refusal, hold, removal and edit of a workspace can be asked after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from feed_site import rss, serve
from rich.console import Console
from worlds import VERSIONS, job

from infra.errors import ConfigError
from infra.storage.workspace import Workspace
from jobs import cli
from jobs.terminal.facts import print_facts
from pipeline.config import RETRY
from pipeline.flow import run_editions
from pipeline.gate.output import GATE
from pipeline.queries.why import why


@pytest.fixture()
def made(world: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Runs both editions of the small world, and one fact that is a set, up to a stage."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(until: str) -> Path:
        config = world()
        with (tmp_path / "people.jsonl").open("a") as stream:
            row = {"subject": "Grace Hopper", "relation": "P106", "object": "rear admiral"}
            stream.write(json.dumps({**row, "date": "2015"}) + "\n")
        run_editions(job(config, tmp_path / "ws"), until=until)
        return tmp_path / "ws"

    yield run
    torch.set_num_threads(before)


@pytest.fixture()
def workspace(made: Callable[[str], Path]) -> Path:
    """As far as the plans."""
    return made("plan")


def printed(facts: list[dict[str, Any]]) -> str:
    console = Console(width=200, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        print_facts(facts, console)
    return captured.get()


def test_everything_that_was_decided_can_be_asked_after(made: Callable[[str], Path]) -> None:
    """For each subject of both plans, every reason that the plan, the probe and trust wrote down is
    in what is printed; edits with their evidence, removals, holds and the fact sheet too."""
    place = Workspace.at(str(made("release")))
    told: dict[str, set[str]] = {}
    for version in VERSIONS:
        planned, probed = place.find("plan", version), place.find("probe", version)
        assert planned and probed
        subject_of = {c["id"]: c["subject"] for c in probed.table("changes.parquet").to_pylist()}
        for name in ("edits", "removals", "refusals", "fact_sheet"):
            for row in planned.table(f"{name}.parquet").to_pylist():
                told.setdefault(row["subject"], set()).add(row["reason"])
        for name in ("held", "dropped"):
            artifact = planned if name == "held" else probed
            for row in artifact.table(f"{name}.parquet").to_pylist():
                told.setdefault(row["subject"], set()).add(row["reasons"][-1])
        for row in probed.table("assessments.parquet").to_pylist():
            told.setdefault(subject_of[row["change_id"]], set()).update(row["reasons"])
        for row in probed.table("verdicts.parquet").to_pylist():
            told.setdefault(subject_of[row["change_id"]], set()).add(row["reason"])
    assert len(told) == 8
    for subject, reasons in told.items():
        text = printed(why(place, subject))
        assert all(reason in text for reason in reasons), subject
        assert all(f"{version} (released)" in text for version in VERSIONS)


def test_a_fact_is_found_by_prompt_name_or_id(workspace: Path) -> None:
    """A whole prompt finds its one fact; a name all of the subject's; a relation narrows; case and
    punctuation do not matter."""
    place = Workspace.at(str(workspace))
    [fact] = why(place, "Neymar plays for")
    assert (fact["subject"], fact["relation"]) == ("Neymar", "P54")
    assert [entry["version"] for entry in fact["history"]] == list(VERSIONS)
    assert not any(entry["released"] for entry in fact["history"])
    assert why(place, "neymar!") == why(place, "Where does Neymar live?") == [fact]
    both = why(place, "Grace Hopper")
    assert [f["relation"] for f in both] == ["P106", "P108"]
    assert why(place, "Grace Hopper", "P108") == both[1:]
    assert why(place, "Grace Hopper works for") == both[1:]
    assert "on the fact sheet" in printed(both[:1]) and "several values" in printed(both[:1])


def test_what_is_not_there_is_said(workspace: Path, tmp_path: Path) -> None:
    """With the nearest names, or the relations that there are."""
    place = Workspace.at(str(workspace))
    with pytest.raises(ConfigError, match=r"about 'Naymar'\. Near it: Neymar\."):
        why(place, "Naymar")
    with pytest.raises(ConfigError, match=r"no change is about 'zzzz'\. Give the id"):
        why(place, "zzzz")
    with pytest.raises(ConfigError, match=r"has relation 'P6'\. There are: P54"):
        why(place, "Neymar", "P6")
    with pytest.raises(ConfigError, match="has no plan yet"):
        why(Workspace.at(str(tmp_path / "empty")), "Neymar")


def test_the_command(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text, as JSON, and as one line of error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["corrigenda", "why", *words, "-w", str(workspace)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    code, out, _ = run("Neymar plays for")
    assert code == 0 and out.startswith("Neymar (P54)") and "source people" in out
    code, out, _ = run("Neymar", "P54", "--json")
    assert code == 0 and json.loads(out) == why(Workspace.at(str(workspace)), "Neymar")
    code, out, err = run("Nobody At All")
    assert code == 1 and not out and err.count("\n") == 1


def test_what_a_feed_says_waits_with_its_sentence(
    world: Callable[..., Path], tmp_path: Path
) -> None:
    """A fact read in a feed is held for its source, and shown with the sentence and the page."""
    with serve() as site:
        page = "https://example.org/1"
        url = site.put("/feed", rss({"link": page, "description": "Eve is married to Bob."}))
        feed = f'name = "news"\nfeeds = ["{url}"]\nrelations = ["P26"]\ncontact = "me@example.org"'
        config = world(f'[[sources]]\nkind = "feed"\n{feed}\nmin_interval_s = 0.0\n')
        run_editions(job(config, tmp_path / "ws"), until="plan")
    (fact,) = why(Workspace.at(str(tmp_path / "ws")), "Eve")
    text = printed([fact])
    assert "it says: Eve is married to Bob." in text and page in text
    assert "source news has no trust of its own: a person has to look" in text


def test_what_an_earlier_run_set_aside_is_not_told_of_this_one(made: Callable[[str], Path]) -> None:
    """An attempt without culprits that an earlier run left behind is none of a run whose gate named
    none."""
    place = Workspace.at(str(made("release")))
    version = VERSIONS[-1]
    planned = place.find("plan", version)
    assert planned is not None
    edit = planned.table("edits.parquet").to_pylist()[0]
    told = printed(why(place, edit["subject"]))
    assert "quarantined" not in told

    def left(out: Any) -> dict[str, Any]:
        out.write_json(GATE, {"search": {"culprits": {edit["id"]: "it failed once"}}})
        return {"passed": False, "culprits": {edit["id"]: "it failed once"}}

    place.run_stage("gate", f"{version}{RETRY}", code=1, made_from={}, body=left)
    assert printed(why(place, edit["subject"])) == told
