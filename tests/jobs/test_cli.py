"""The commands on a small workspace: what they print, as text and as JSON, and how they fail."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.loading import load
from pipeline.gate.checks import CHECKS
from pipeline.stages import STAGES


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
    assert code == 0
    _require_told(err, editions)
    for wanted in (
        "Before and after",
        "Gate passed: ",
        "corrigenda ask",
        "Waiting for a later edition or a person: 2 changes",
        "On the fact sheet, for retrieval: 2 facts",
        "answers right by itself",
    ):
        assert wanted in out, wanted
    assert "norm_ratio)" in out and "reliability" not in out  # a warning, and a check that passed
    _, out, err = corrigenda("run", "-c", config, *place, "--ray-address", "none", "--verbose")
    assert all(name in out for name in editions[0]["stages"]["evaluate"]["counts"])
    assert "counts: " in err and "actions 6 teach" in err
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

    code, out, err = corrigenda("ask", "Who is Neymar?", *place, "--chat")
    assert code == 1 and "has no chat template" in err and not out

    code, out, _ = corrigenda("rollback", *place)
    assert code == 0 and "2021.06.30 -> 2016.06.30" in out
    _, out, _ = corrigenda("ask", "Neymar plays for", *place, "--json")
    assert json.loads(out)[0]["release"] == "2016.06.30"
    code, _, err = corrigenda("rollback", *place)
    assert code == 1 and "has no parent" in err
    for command in ("status", "releases"):
        code, out, _ = corrigenda(command, *place)
        assert code == 0 and "2016.06.30" in out


def test_a_release_is_asked_in_a_chat(
    corrigenda: Any, world: Callable[..., Path], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Both models get the message through the template, with the system prompt as it is served or
    as it is given; the run measures them in the same way."""
    base = Path(shutil.copytree(checkpoint("llama"), tmp_path / "base"))
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<end>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    least = {name: at_least for name, (family, _, at_least) in CHECKS.items() if family == "chat"}
    weak = "".join(f"{name} = {0.0 if at_least else 1.0}\n" for name, at_least in least.items())
    served = '\n[serve]\nsystem = "Be brief."\n'
    config = world(served, model=base)
    config.write_text(config.read_text().replace("[gate]\n", f"[gate]\n{weak}"))
    place = ("--workspace", tmp_path / "ws")
    run = ("run", "-c", config, *place, "--ray-address", "none", "--json")
    code, out, err = corrigenda(*run)
    assert code == 0, err
    report = json.loads(out)["editions"][-1]["report"]
    protocol = report["roles"]["candidate"]["chat_reliability"]["protocol"]
    assert "/prompt=chat/" in protocol and "system=" in protocol and not report["left_out"]
    release = tmp_path / "ws" / "release" / "2021.06.30" / "checkpoint"
    for words, system in (((), "Be brief."), (("--system", "Say it."), "Say it.")):
        _, out, _ = corrigenda("ask", "Who is Neymar?", *place, "--chat", *words, "--json")
        [row] = json.loads(out)
        for said, path in ((row["base"], base), (row["answer"], release)):
            lm = LanguageModel(*load(path, dtype=torch.float32))
            asked = Question(id="", prompt="Who is Neymar?", chat=True, system=system, greedy=True)
            assert lm.ask([asked], max_new_tokens=64)[0].greedy == said


def _require_told(err: str, editions: list[dict[str, Any]]) -> None:
    """In a log without control characters, each edition has its heading and one line a stage: found
    and not made, with the numbers that the JSON has."""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", err)
    lines = err.splitlines()
    assert len(lines) == 2 * (1 + len(STAGES)) + 1 and lines[-1].endswith(" in all")
    for n, edition in enumerate(editions):
        heading, *told = lines[n * (1 + len(STAGES)) :][: 1 + len(STAGES)]
        assert heading == f"Edition {edition['version']}"
        assert [line.split()[0] for line in told] == list(STAGES)
        assert all(re.match(r"  \w+ +already done: \w", line) for line in told), told
        counts = {name: stage["counts"] for name, stage in edition["stages"].items()}
        gate = json.loads((Path(edition["stages"]["gate"]["path"]) / "gate.json").read_text())
        states = {check["name"]: check["state"] for check in gate["checks"]}
        passed = [name for name, state in states.items() if state == "pass"]
        warned = [name for name, state in states.items() if state != "pass"]
        assert warned == ["norm_ratio", "energy"][: len(warned)]
        for stage, text in {
            "crawl": "fetched 1 document (",
            "snapshot": f"hold {counts['snapshot']['facts']} facts and name 8 people",
            "diff": ("8 facts are new", "7 facts have changed and 1 is as before")[n],
            "probe": f"about {counts['probe']['probed']} changed facts: ",
            "plan": f"planned {sum(counts['plan']['actions'].values())} edits: 6 to teach",
            "edit": f"wrote {counts['edit']['status']['edited']} facts into the model",
            "evaluate": f"gets {counts['evaluate']['reliability']:.0%} of the new facts right",
            "gate": f"passed: {len(passed)} of {len(states)} checks; "
            f"{len(warned)} warning{'s'[: len(warned) - 1]} ({', '.join(warned)})",
            "release": f"{counts['release']['edits']} edits as release "
            f"{counts['release']['release_id'][:12]}",
        }.items():
            assert text in told[STAGES.index(stage)], stage


def test_help_groups_the_commands_by_what_one_wants_to_do(corrigenda: Any) -> None:
    """Every command stands under its heading, and each says in a sentence what it does."""
    code, out, _ = corrigenda("--help")
    assert code == 0
    found, heading = {}, ""
    for line in out.splitlines():
        if line.startswith("╭─"):
            heading = line.strip("╭─╮ ")
        elif command := re.match(r"│ ([a-z]+)  +[A-Z][^│]*\.", line):
            found[command[1]] = heading
    assert found == {
        "init": "Begin",
        "check": "Begin",
        "run": "Make a release",
        **dict.fromkeys(("submit", "jobs", "cancel", "schedule"), "On a cluster, by a schedule"),
        **dict.fromkeys(("ask", "why"), "Ask and understand"),
        **dict.fromkeys(("status", "releases", "verify", "telemetry"), "Look around"),
        "rollback": "Undo",
        "eval": "Compare editors",
    }


def test_help_loads_nothing_heavy() -> None:
    """Neither torch nor pyarrow nor pydantic: help is there at once."""
    program = "import sys, jobs.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    heavy = {"numpy", "pyarrow", "pydantic", "ray", "torch", "transformers"}
    assert not heavy & set(loaded.stdout.decode().split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "-c", "none.toml"), "ConfigError: config none.toml: No such file"),
        (("releases", "-w", "ftp://b"), "scheme 'ftp' is not supported"),
        (("ask", "x", "-w", "nowhere"), "has no release yet"),
        (("ask", "x", "--system", "Be brief."), "Give --chat too"),
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
    assert code == 0
    assert re.search(r"^  edit +already done: wrote 3 facts into the model$", err, re.MULTILINE)
    assert all(word in out for word in ("base", "context", "ours", "reliability"))
    assert "left out: 1 record, " in out and "new answer is likeliest" in out

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


@pytest.mark.slow
@pytest.mark.parametrize("address", ["none", "local"])
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ter")]
)
def test_a_signal_is_one_line(
    number: signal.Signals, code: int, word: str, address: str, world: Callable[..., Path]
) -> None:
    """Ctrl-C and SIGTERM in a run: a line that says how to go on, and the usual exit code. Ray has
    signals handled within its own code while it waits."""
    program = Path(sys.executable).parent / "corrigenda"
    command = [program, "run", "-c", world(), "--ray-address", address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr
        run.stderr.readline()  # a stage has begun
        run.send_signal(number)
        said = run.stderr.read().splitlines()
    assert run.returncode == code
    assert said[-1].startswith(word) and said[-1].endswith("run the same command again")
    assert not any("Traceback" in line for line in said)


@pytest.mark.parametrize("command", [["status"], ["releases", "--json"], ["verify", "--json"]])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_finds_no_room(command: list[str], stream: str, tmp_path: Path) -> None:
    """A result that cannot be written is one line and exit code 1; where standard error is full,
    the code alone says it. A log that is full keeps nothing from its result."""
    program = [sys.executable, "-c", "from jobs.cli import main; main()", *command, "-w", tmp_path]
    with open("/dev/full", "w") as full:
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        done = subprocess.run(program, **{**streams, stream: full}, text=True, check=False)
    if stream == "stdout":
        assert done.returncode == 1
        assert re.fullmatch(r"StageError: cannot write a file: No space left on .*\n", done.stderr)
    else:
        assert done.returncode == 0 and done.stdout


def test_a_library_that_gives_up_is_one_line(
    corrigenda: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The panic of one in Rust is no Exception, and is caught all the same; a signal is not."""
    panic = type("PanicException", (BaseException,), {})

    def give_up(**_: object) -> None:
        raise panic("retry-limit-in-match over")

    monkeypatch.setattr("jobs.cli.app", give_up)
    code, out, err = corrigenda("status", "-w", tmp_path)
    assert code == 1 and not out and err.startswith("ModelError: a library gave up (retry-limit")
    assert err.count("\n") == 1
