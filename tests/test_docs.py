"""What the documents say is so: their examples run and print what is claimed, their settings are
settings, and the files they name exist.

Marks in a document are comments that no renderer shows, each before a fenced block:

    <!-- file: NAME -->    the block is the content of a file of the example
    <!-- append: NAME -->  the block goes to the end of that file
    <!-- run -->           the block is run: a console block command by command, Python as a program
    <!-- prints -->        the block is what the program before it prints

Each document's blocks are run in order, in one new folder that holds a tiny random model in
`model/`. A line `...` stands for any lines, and `...` in a line for any text. What a command prints
is compared with numbers masked; what a program prints, exactly. `<!-- given: two releases -->`
begins with a workspace of two releases.
"""

from __future__ import annotations

import io
import re
import runpy
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.settings import validate
from jobs import cli
from pipeline.config import Config
from pipeline.stages import STAGES

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
WORLD = "given: two releases"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n\n*)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PACKAGES = "benchmarks|discovery|docs|editors|examples|infra|jobs|pipeline|tests"
_PATH = re.compile(rf"(?:{_PACKAGES})/[\w./-]*")
_NUMBER = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b|\d+")


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    kind: str
    """What is behind the fence: console, toml, python, text."""
    mark: str
    """What the comment before it says; empty without one."""
    text: str


def blocks(document: Path) -> list[Block]:
    """All fenced blocks, in order."""
    found = _BLOCK.finditer(document.read_text(encoding="utf-8"))
    return [Block(m["kind"], m["mark"] or "", m["text"]) for m in found]


def runs(document: Path) -> bool:
    """Whether a document has an example that is run."""
    return any(block.mark == "run" for block in blocks(document))


def name(document: Path) -> str:
    """A document's path in the tree."""
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", PAGES, ids=name)
def test_each_page_has_an_example_that_runs(document: Path) -> None:
    """A page without one may say what is no longer so."""
    assert runs(document)


@pytest.mark.parametrize("document", [*filter(runs, DOCUMENTS)], ids=name)
def test_examples_print_what_is_claimed(
    document: Path,
    tmp_path: Path,
    checkpoint: Callable[[str], Path],
    world: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every command and program ends well, or as the page says, and prints the page's lines."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    if f"<!-- {WORLD} -->" in document.read_text(encoding="utf-8"):
        config = like_the_demo(world(line="demo"))
        assert "GateError" not in printed(monkeypatch, f"run -c {config} --ray-address none")
    else:
        shutil.copytree(checkpoint("llama"), tmp_path / "model")
    said = ""
    for block in blocks(document):
        match block.mark.partition(": "):
            case ["file", _, path]:
                Path(path).write_text(block.text, encoding="utf-8")
            case ["append", _, path]:
                with Path(path).open("a", encoding="utf-8") as file:
                    file.write(f"\n{block.text}")
            case ["run", _, _] if block.kind == "console":
                for command, claimed in commands(block.text):
                    said = printed(monkeypatch, command)
                    assert_printed(claimed, said, f"{name(document)}: {command}", masked=True)
            case ["run", _, _]:
                assert block.kind == "python", block
                said = run_program(block.text, tmp_path / "example.py")
            case ["prints", _, _]:
                assert_printed(block.text, said, f"{name(document)}: python", masked=False)
            case mark:
                assert mark == ("", "", ""), f"{name(document)}: no mark is {block.mark!r}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_settings_are_settings(document: Path) -> None:
    """Every TOML block is a config, or a part of one: each key is known, each value allowed."""
    for block in blocks(document):
        if block.kind == "toml":
            part = tomllib.loads(block.text)
            table = {"kind": "table", "name": "people", "path": "people.csv"}
            validate(Config, {"line": "mine", "sources": [table], **part}, name(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_what_is_named_is_there(document: Path) -> None:
    """Links lead to files, and paths in code style are files or folders of the tree."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link for link in _LINK.findall(text) if "://" not in link and link[0] != "#"]
    missing = [link for link in links if not (document.parent / link.partition("#")[0]).exists()]
    named = [code for code in _CODE.findall(text) if _PATH.fullmatch(code)]
    assert missing + [path for path in named if not (ROOT / path).exists()] == []


def test_the_table_of_stages_is_the_flow() -> None:
    """README and CONTRIBUTING name the nine stages in the order in which they run."""
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        rows = re.findall(r"^\| (\w+) \| \[?`\w+/\S+\.py`", document.read_text("utf-8"), re.M)
        assert tuple(rows) == STAGES, document


@pytest.mark.parametrize(
    ("claimed", "said", "is_right"),
    [
        ("a  1\n", "a 2 \n", True),
        ("a\n", "a\nb\n", False),
        ("a\n...\n", "a\nb\nc\n", True),
        ("a\n...\nd\n", "a\nb\nc\n", False),
        ("a ... c\n", "a b c\n", True),
        ("id 0123456789ab\n", "id ba9876543210\n", True),
        ("done\n", "failed\n", False),
    ],
)
def test_claims_are_held_against_what_is_printed(claimed: str, said: str, is_right: bool) -> None:
    """White space and numbers do not matter; any other word that is missing or too many does."""
    with nullcontext() if is_right else pytest.raises(AssertionError):
        assert_printed(claimed, said, "", masked=True)


def like_the_demo(config: Path) -> Path:
    """The small world with the demo's days, and only as much edited and measured as is told."""
    text = config.read_text(encoding="utf-8")
    for old, new in (
        ("2016-06-30", "2016-08-31"),
        ("2021-06-30", "2023-06-30"),
        ("max_edits = 6", "max_edits = 2"),
        ("text_chars = 2000", "text_chars = 1000"),
    ):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text, encoding="utf-8")
    return config


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what is claimed that it prints."""
    for part in re.split(r"^\$ corrigenda ", text, flags=re.M)[1:]:
        command, _, claimed = part.partition("\n")
        yield command, claimed


def printed(monkeypatch: pytest.MonkeyPatch, command: str) -> str:
    """What a command prints, on standard output into the file behind `>`, where it has one, and
    else errors behind it; a command may fail only with one line."""
    words, _, file = command.partition(" > ")
    monkeypatch.setattr("sys.argv", ["corrigenda", *shlex.split(words)])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        cli.main()
    errors = [line for line in err.getvalue().splitlines() if re.match(r"\w+Error: ", line)]
    assert int(end.value.code or 0) == len(errors), err.getvalue()
    if file:
        Path(file).write_text(out.getvalue(), encoding="utf-8")
        return ""
    return "\n".join([out.getvalue(), *errors])


def run_program(text: str, path: Path) -> str:
    """What a Python program prints."""
    path.write_text(text, encoding="utf-8")
    out = io.StringIO()
    with redirect_stdout(out):
        runpy.run_path(str(path), run_name="__main__")
    return out.getvalue()


def assert_printed(claimed: str, said: str, where: str, *, masked: bool) -> None:
    """Nothing claimed is nothing to check; else line by line the same, but for white space."""
    wanted, lines = _lines(claimed, masked), _lines(said, masked)
    if not wanted:
        return
    pattern = "".join(
        r"(?:[^\n]*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
        for line in wanted
    )
    assert re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)), f"{where}:\n{said}"


def _lines(text: str, masked: bool) -> list[str]:
    """Lines that are not blank, with single spaces, and numbers masked."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return [_NUMBER.sub("0", line) if masked else line for line in lines]
