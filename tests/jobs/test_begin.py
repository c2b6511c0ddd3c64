"""A person who starts: `init` writes a config, `check` looks at it, `run` takes it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from begin_helpers import flags_of
from feed_site import serve
from safetensors.torch import load_file, save_file
from source_worlds import (
    Place,
    Source,
    columns,
    database,
    dump,
    feed,
    json_array,
    rdf,
    separated,
    table,
    wikibase,
)

from infra.execution import capacity
from infra.settings import read_toml

WORLDS: dict[str, Source] = {
    "table.csv": table(".csv", separated(";")),
    "table.json.bz2": table(".json.bz2", json_array),
    "table.parquet": table(".parquet", columns),
    "sql sqlite": database("sqlite"),
    "sql duckdb": database("duckdb"),
    "feed rss": feed("rss"),
    "feed page": feed("page"),
    "dump.json.gz": dump(".json.gz"),
    "rdf.nt": rdf(".nt", of_wikibase=False),
    "rdf.ttl.zst": rdf(".ttl.zst", of_wikibase=True),
    "rdf.jsonld": rdf(".jsonld", of_wikibase=True),
    "wikidata": wikibase,
}
STAFF = """\
person;property;employer;valid_from;note
Ada Quill;P108;Contoso;2015-01-01;
Ben Quill;P108;Fabrikam;2015-01-01;
Cleo Quill;P99;Contoso;2015-01-01;
Dora Quill;P108;;2015-01-01;
"""
QUERY = ("--set", "connect=duckdb:", "--set", "query=DROP x")
ITEMS = ("--set", "entities=42", "--set", "contact=a@b.org")
NOBODY = ("--set", "entities=Q42", "--set", "contact=me")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a workspace but its caches."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "cache"
    }


@pytest.fixture()
def staff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Callable[[str], Path], corrigenda
) -> Callable[..., Path]:
    """Writes the config of a table of staff and a tiny model by `init`, with words replaced."""

    def write(*replaced: tuple[str, str]) -> Path:
        monkeypatch.chdir(tmp_path)
        Path("staff.csv").write_text(STAFF)
        words = ("--kind", "table", "--set", "path=staff.csv", "--model", checkpoint("llama"))
        assert corrigenda("init", *words, "--force")[0] == 0
        config = Path("corrigenda.toml")
        text = config.read_text()
        for old, new in replaced:
            assert old in text, old
            text = text.replace(old, new)
        config.write_text(text)
        return config

    return write


@pytest.mark.parametrize("form", WORLDS)
def test_init_writes_what_check_accepts_and_run_reads(
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Callable[[str], Path],
    corrigenda: Any,
) -> None:
    """For each kind of source the flags make a config; `check` finds all four facts and nothing
    against them, and leaves no trace but caches; a run reads the same facts."""
    monkeypatch.chdir(tmp_path)
    with serve() as site:
        settings = WORLDS[form](Place(tmp_path, site, "Quill", 7), False)
        flags = (*flags_of(settings), "--model", checkpoint("llama"))
        code, out, err = corrigenda("init", *flags)
        assert (code, err) == (0, ""), err
        config = Path("corrigenda.toml")
        config.write_text(
            config.read_text().replace("# min_interval_s = 1.0", "min_interval_s = 0")
        )
        where = ("--config", config, "--ray-address", "none")
        code, out, _ = corrigenda("check", *where, "--json")
        found = json.loads(out)
        assert (code, found["stops"]) == (0, [])
        content = found["source"][0]["content"]
        assert content["whole"] or form.startswith(("wikidata", "feed"))
        assert content["num_facts"] == 4
        assert any(" works for Contoso Works." in told for told in content["examples"])
        assert contents(tmp_path / "workspace") == {}
        code, out, _ = corrigenda("run", *where, "--until", "diff", "--json")
        (edition,) = json.loads(out)["editions"]
        assert code == 0 and edition["stages"]["snapshot"]["counts"]["facts"] == 4
        before = contents(tmp_path / "workspace")
        assert corrigenda("check", *where)[0] == 0
        assert contents(tmp_path / "workspace") == before


def test_check_says_what_a_run_would_do(staff: Callable[..., Path], corrigenda: Any) -> None:
    """In sentences: what was read and what not, which facts cannot be taught, how far the source is
    trusted, the model, the edition, disk and memory, the time, and what comes next. Foreign text
    that looks like markup is printed as it is."""
    config = staff()
    Path("staff.csv").write_text(STAFF.replace("Contoso", "[bold]Contoso[/bold]"))
    code, out, _ = corrigenda("check", "-c", config)
    assert code == 0
    for wanted in (
        "It was read: 4 rows, 4 facts.",
        "For example: Ada Quill works for [bold]Contoso[/bold].",
        "1 fact cannot be read",
        "Not used, 1: row without object",
        "1 fact cannot be taught, since no question is known for P99 (1)",
        "it is your own",
        "LlamaForCausalLM",
        "can be edited",
        "(the first of its line)",
        "at most 4 facts",
        "are free",
        "About ",
        "Nothing was found that would stop a run.",
        "corrigenda run --config corrigenda.toml --until plan",
    ):
        assert wanted in out, (wanted, out)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ((('path = "staff.csv"', 'path = "gone.csv"'),), "cannot read"),
        ((('"employer"', '"employr"'),), "has no column 'employr' for object"),
        ((('line = "mine"', "lin = 3"), ("max_edits = 100", "max_edits = 0")), "'plan.max_edits'"),
        ((("max_edits = 100", 'max_edits = "many"'),), "'plan.max_edits' = 'many'"),
        ((("[gate]", "[edit]\neditor = 'mimet'\n[gate]"),), "did you mean 'memit'?"),
    ],
    ids=["missing file", "wrong column", "several settings", "wrong setting", "wrong editor"],
)
def test_what_stops_a_run_is_a_line_and_exit_code_1(
    replaced: tuple, said: str, staff: Callable[..., Path], corrigenda: Any
) -> None:
    """Each is said by `check`, with the words of a run."""
    config = staff(*replaced)
    code, out, err = corrigenda("check", "-c", config, "--ray-address", "none")
    assert code == 1 and said in out + err
    assert "Traceback" not in out + err and contents(Path("workspace").absolute()) == {}


def test_all_faults_of_the_settings_are_told(staff: Callable[..., Path], corrigenda: Any) -> None:
    """Not the first alone."""
    config = staff(('line = "mine"', 'line = "my line"'), ("max_edits = 100", "max_edits = 0"))
    code, out, _ = corrigenda("check", "-c", config, "--json")
    assert code == 1
    stops = json.loads(out)["stops"]
    assert [any(name in stop for stop in stops) for name in ("'my line'", "'plan.max_edits'")] == [
        True,
        True,
    ]


def spoilt(model: Path) -> Path:
    """A copy of a model, in the current directory, with a number that is none."""
    copy = Path("spoilt").absolute()
    shutil.copytree(model, copy)
    (weights,) = copy.glob("*.safetensors")
    tensors = load_file(weights)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, weights, {"format": "pt"})
    return copy


def feed_config(url: str, model: Path, contact: str = 'contact = "ops@example.org"') -> str:
    return f"""
line = "mine"
[model]
name = "{model}"
[[sources]]
kind = "feed"
name = "news"
feeds = ["{url}"]
relations = ["P108"]
min_interval_s = 0
{contact}
"""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("robots", "robots.txt"),
        ("contact", "is not a URL or an e-mail address"),
        ("host", "none of its addresses gives a feed or a page"),
        ("model", "is no directory"),
        ("weights", "not finite"),
        ("ray", "no Ray at '127.0.0.1:1'"),
        ("disk", "are free at"),
    ],
)
def test_each_part_stops_a_run(
    fault: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Callable[[str], Path],
    corrigenda: Any,
) -> None:
    """A site that is closed or away, an operator without a name, a missing model, one with a number
    that is none, a cluster that does not answer and a full disk: each is one line and exit code 1,
    within seconds."""
    monkeypatch.chdir(tmp_path)
    with serve() as site:
        feed("rss")(Place(tmp_path, site, "Quill", 7), False)
        if fault == "robots":
            site.put("/robots.txt", "User-agent: *\nDisallow: /\n", Content_Type="text/plain")
        origin = "http://127.0.0.1:1" if fault == "host" else site.origin
        text = feed_config(f"{origin}/Quill", checkpoint("llama"))
        if fault == "contact":
            text = text.replace('contact = "ops@example.org"', "")
        if fault == "model":
            text = text.replace(str(checkpoint("llama")), "./no-model")
        if fault == "weights":
            text = text.replace(str(checkpoint("llama")), str(spoilt(checkpoint("llama"))))
        Path("run.toml").write_text(text)
        if fault == "disk":
            monkeypatch.setattr(capacity.shutil, "disk_usage", lambda _: type("U", (), {"free": 9}))
        address = "127.0.0.1:1" if fault == "ray" else "none"
        code, out, _ = corrigenda("check", "-c", "run.toml", "--ray-address", address, "--json")
    stops = json.loads(out)["stops"]
    assert code == 1 and len(stops) == 1 and said in stops[0], stops


class Terminal(io.StringIO):
    """Typed lines."""

    def isatty(self) -> bool:
        return True


def test_questions_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corrigenda: Any
) -> None:
    """What is not given is asked, with what the file itself proposes; a wrong answer is asked for
    again."""
    monkeypatch.chdir(tmp_path)
    Path("staff.csv").write_text(STAFF)
    typed = ["table", "gone.csv", "staff.csv", "", "", "", "", "", "", "", "", "", "people", ""]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join(typed) + "\n"))
    code, out, err = corrigenda("init", "mine.toml")
    assert code == 0, (out, err)
    assert "'gone.csv' is no file here" in out
    assert "has the columns person, property, employer, valid_from, note" in out
    made = read_toml(Path("mine.toml"))
    assert (made["line"], made["model"]["name"]) == ("mine", "smollm2-135m-instruct")
    assert made["sources"] == [
        {
            "kind": "table",
            "name": "people",
            "path": "staff.csv",
            "columns": {
                "subject": "person",
                "relation": "property",
                "object": "employer",
                "date": "valid_from",
            },
        }
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--kind KIND"),
        (("--kind", "tabel", "--model", "a/b"), "did you mean 'table'?"),
        (("--kind", "feed", "--model", "a/b"), "--set contact=..."),
        (("--kind", "feed", "--model", "a/b"), "--set feeds=... or --set pages=..."),
        (("--kind", "table", "--model", "a/b", "--set", "path=gone.csv"), "is no file here"),
        (("--kind", "table", "--model", "a/b", "--set", "pth=x"), "did you mean 'path'?"),
        (("--kind", "dump", "--model", "./none", "--set", "path=staff.csv"), "is no directory"),
        (("--kind", "sql", "--model", "a/b", *QUERY), "query begins with DROP"),
        (("--kind", "wikidata", "--model", "a/b", *ITEMS), "Nothing was written"),
        (("--kind", "wikidata", "--model", "a/b", *NOBODY), "is no URL or e-mail address"),
    ],
)
def test_what_is_wrong_with_the_flags_is_one_line(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    corrigenda: Any,
) -> None:
    """Without a terminal nobody is asked, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("staff.csv").write_text(STAFF)
    code, _, err = corrigenda("init", *words)
    assert code == 1 and said in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["staff.csv"]


def test_a_file_that_is_there_is_kept(staff: Callable[..., Path], corrigenda: Any) -> None:
    """Unless --force is given."""
    config = staff()
    before = config.read_bytes()
    words = ("--kind", "table", "--set", "path=staff.csv", "--model", "smollm2-135m-instruct")
    code, _, err = corrigenda("init", *words)
    assert code == 1 and "--force" in err and config.read_bytes() == before
    assert corrigenda("init", *words, "--force")[0] == 0 and config.read_bytes() != before
