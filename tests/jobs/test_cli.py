"""The commands on a small workspace: what they print, as text and as JSON, and how they fail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.models.loading import load
from jobs import cli


@pytest.fixture()
def corrigenda(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command line as a user does; returns exit code, standard output and error."""

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["corrigenda", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()  # what libraries said while fixtures were made
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return command


def test_a_workspace_from_run_to_rollback(
    corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """run, status, releases, ask, rollback: each with --json, each on the same workspace."""
    place = ("--workspace", tmp_path / "ws")
    config = world()
    code, out, _ = corrigenda("run", "-c", config, *place, "--ray-address", "none", "--json")
    assert code == 0
    editions = json.loads(out)["editions"]
    assert [e["version"] for e in editions] == ["2016.06.30", "2021.06.30"]
    assert editions[0]["stages"]["plan"]["counts"]["actions"] == {"teach": 6}

    code, out, err = corrigenda("run", "-c", config, *place, "--ray-address", "none")
    assert code == 0 and "(found)" in err
    for wanted in (
        "Before and after",
        "Gate passed",
        "corrigenda ask",
        "waiting for",
        "on the fact sheet",
    ):
        assert wanted in out, wanted
    reports = re.findall(r"^Report: (.*)$", out, re.MULTILINE)
    assert len(reports) == 2 and all(Path(report).is_file() for report in reports)

    _, out, _ = corrigenda("status", *place, "--json")
    state = json.loads(out)
    assert state["production"] == {"tiny": "2021.06.30"}
    assert set(state["versions"]["2016.06.30"].values()) == {"done"}

    _, out, _ = corrigenda("releases", *place, "--json")
    assert [r["page"] for r in json.loads(out)] == reports
    assert [(r["version"], r["production"]) for r in json.loads(out)] == [
        ("2016.06.30", False),
        ("2021.06.30", True),
    ]

    _, out, _ = corrigenda("ask", "Neymar plays for", *place, "--json")
    [row] = json.loads(out)
    assert row["release"] == "2021.06.30" and row["base"] != row["answer"]

    code, out, _ = corrigenda("rollback", *place)
    assert code == 0 and "2021.06.30 -> 2016.06.30" in out
    _, out, _ = corrigenda("ask", "Neymar plays for", *place, "--json")
    assert json.loads(out)[0]["release"] == "2016.06.30"
    code, _, err = corrigenda("rollback", *place)
    assert code == 1 and "has no parent" in err
    for command in ("status", "releases"):
        code, out, _ = corrigenda(command, *place)
        assert code == 0 and "2016.06.30" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "-c", "none.toml"), "ConfigError: config none.toml: No such file"),
        (("releases", "-w", "s3://b"), "scheme 's3' is not supported"),
        (("ask", "x", "-w", "nowhere"), "has no release yet"),
        (("run", "-c", "x.toml", "--until", "prob"), "--until 'prob' is no stage"),
    ],
)
def test_a_mistake_is_one_line_and_a_bad_exit_code(
    corrigenda: Any, words: tuple[str, ...], message: str
) -> None:
    """No traceback."""
    code, out, err = corrigenda(*words)
    assert code == 1 and message in err
    assert err.count("\n") == 1 and not out


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "gpt2", "gpt_neox"])
def test_any_decoder_goes_the_whole_way(
    corrigenda: Any, world: Callable[..., Path], checkpoint: Callable[[str], Path], kind: str
) -> None:
    """--model with a directory: both editions are released, and their checkpoints load and differ
    from the base in the layers edited. Gemma's normed MLP output leaves one layer to edit."""
    config = world()
    layers = [1] if kind == "gemma2" else [1, 2]
    config.write_text(config.read_text().replace("layers = [1, 2]", f"layers = {layers}"))
    run = ("run", "-c", config, "--model", checkpoint(kind), "--ray-address", "none", "--json")
    code, out, err = corrigenda(*run)
    assert code == 0, err
    editions = json.loads(out)["editions"]
    base, _ = load(checkpoint(kind), dtype=torch.float32)
    assert len(editions) == 2
    for edition in editions:
        assert edition["stages"]["edit"]["counts"]["status"].keys() == {"edited"}
        edited, _ = load(Path(edition["release"]["path"]) / "checkpoint", dtype=torch.float32)
        changed = [
            name
            for name, value in base.named_parameters()
            if not torch.equal(value, edited.get_parameter(name))
        ]
        assert [int(re.findall(r"\d+", name)[0]) for name in changed] == layers


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "table"', 'kind = "wikidata"\nentities = ["Q1"]', "unknown"),
        ('path = "people.jsonl"', 'path = "gone.jsonl"', "cannot read"),
        ("[probe]", "[prob]", "did you mean 'probe'"),
        ("[1, 2]", "[1, 40]", "layers=(1, 40) but LlamaForCausalLM has 4 (0-3)"),
    ],
)
def test_a_bad_config_stops_the_run_in_one_line(
    corrigenda: Any, world: Callable[..., Path], old: str, new: str, message: str
) -> None:
    """Whatever stage finds it; what was finished stays."""
    config = world()
    config.write_text(config.read_text().replace(old, new))
    code, _, err = corrigenda("run", "-c", config, "--ray-address", "none")
    errors = [line for line in err.splitlines() if "Error: " in line]
    assert code == 1 and len(errors) == 1 and message in errors[0]
    assert "Traceback" not in err


def test_an_unreachable_source_is_one_line(
    corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """Nobody listens there; nothing is half-written and the exit code is not zero."""
    config = world(
        '[[sources]]\nkind = "wikidata"\nname = "wd"\nentities = ["Q42"]\n'
        'endpoint = "http://127.0.0.1:9"\ncontact = "a@b.org"\n'
    )
    code, _, err = corrigenda("run", "-c", config, "--ray-address", "none")
    assert code == 1 and "cannot reach http://127.0.0.1:9" in err
    assert not (tmp_path / "workspace" / "crawl" / "2016.06.30").exists()


def test_a_model_without_weights(
    corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """--model overrides the config and is checked first."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    code, _, err = corrigenda(
        "run", "-c", world(), "--model", tmp_path / "empty", "--ray-address", "none"
    )
    assert code == 1 and "has no weights" in err


def test_eval_judges_editors_on_an_edit_set(
    corrigenda: Any, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """A table with base, context and each editor under its name, the numbers as JSON, what was left
    out, and one line for each thing that cannot be."""
    facts = tmp_path / "facts.jsonl"
    rows = [
        {"subject": s, "prompt": f"{s} plays for", "target": "Paris", "old": ["Derby"]}
        for s in ("Tom Brady", "Neymar", "Tim Cook")
    ]
    facts.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    common = ("--data", f"jsonl:{facts}", "--model", checkpoint("llama"), "--ray-address", "none")
    quick = [w for k in ("layers=1,2", "statistics_tokens=512", "window=64") for w in ("--set", k)]
    named = [w if w == "--set" else f"ours.{w}" for w in quick]
    place = ("--workspace", tmp_path / "evaluations", "--metrics", "preference,generation")
    asked = ("eval", *common, *place, "--editor", "ours=memit", *named)

    code, out, err = corrigenda(*asked, "--json", "--alone", 1, "--steps", 2)
    assert code == 0, err
    told = json.loads(out)
    assert [row["system"] for row in told["systems"]] == ["base", "context", "ours"]
    ours = told["systems"][-1]
    assert ours["metrics"]["ES"]["n"] == 3 and "decode=tf" in ours["metrics"]["ES"]["protocol"]
    assert set(ours["scaling"]) == {
        *("scalability", "relative_scalability", "accuracy@1", "accuracy@3"),
        *("retainability", "forgetting"),
    }
    assert sum(told["dropped"].values()) == 1

    code, out, err = corrigenda(*asked)
    assert code == 0 and "(found)" in err
    assert all(word in out for word in ("base", "context", "ours", "reliability", "left out: 1"))

    for words, line in (
        (("--data", "jsonl"), "write NAME:FILE"),
        (("--editor", "mem"), "did you mean 'memit'"),
        (("--set", "memit.layer=3"), "did you mean 'layers'"),
        (("--set", "layers=3"), "write SYSTEM.key=value"),
        (("--set", "other.layers=3"), "no --editor has that name"),
        (("--metrics", "localty"), "did you mean 'locality'"),
        (("--candidate", tmp_path), "holds no safetensors"),
        (("--alone", 9), "has 3 facts"),
    ):
        code, _, err = corrigenda("eval", *common, *place, *words)
        assert code == 1 and line in err.splitlines()[-1], (words, err)
