"""Every text is a config that can be recorded and read again, or one line of what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from config_helpers import HOSTILE, everything, places, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discovery.relations.relation import load_relations
from editors import EDITORS
from infra.errors import ConfigError
from infra.files.digest import canonical_json
from infra.settings import faults, nested, validate
from pipeline.config import Config, Edition, load_config

LEAST = 'line = "l"\n[[sources]]\nkind = "table"\nname = "t"\npath = "t.jsonl"\n'
"""The shortest config."""
PLACES = list(dict.fromkeys(places()))
PIECES = (
    *("", '"', "'''", "[", "]", "{", "=", "\n", "\0", "\x1b[2J", "é", ".", "nan", "-inf", "#"),
    *("9" * 5000, "0x" + "f" * 5000, "[" * 3000, "a." * 300 + "a = 1\n", "\\ud800", '"""'),
    *("2022-06-30T00:00:00Z", "9999-12-31", "true", "[[editions]]\n"),
)
"""What is put into the text of a config."""


def is_line(error: ConfigError) -> bool:
    """Whether an error is one line of a length that a person reads."""
    return str(error).isprintable() and len(str(error)) < 2000


def require_recorded(config: Config) -> None:
    """A config can be written as JSON and read again as one that is written the same; how long a
    host may ask to be waited for is in no record."""
    written = json.loads(canonical_json(config.model_dump(mode="json")))
    assert validate(Config, written, "config").model_dump(mode="json") == written


def test_the_schema_is_walked_to_its_ends() -> None:
    """The fuzzed places reach into every section, every kind of source and every bound."""
    names = {".".join(map(str, path)) for path in PLACES}
    assert {"gate.kl.bound", "trust.revert_risk.limit", "editions.1.as_of", "line"} <= names
    assert {f"sources.{n}.name" for n in range(6)} <= names
    assert {"sources.2.extractor.margin", "edit.options", "evaluate.capability"} <= names
    require_recorded(validate(Config, everything(), "config"))


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(HOSTILE)), max_size=3))
def test_any_value_at_any_setting(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever stands at one to three settings: a config, or one line; the list of faults that
    `check` prints is empty exactly where there is a config."""
    raw = everything()
    for path, value in changes:
        put(raw, path, deepcopy(value))
    found = faults(Config, raw)
    assert all(line.isprintable() for line in found)
    try:
        config = validate(Config, raw, "config")
    except ConfigError as error:
        assert found and is_line(error)
    else:
        assert not found
        require_recorded(config)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 12),
            st.sampled_from(PIECES),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_text(world: Callable[..., Path], edits: list[tuple[float, int, str]]) -> None:
    """A config's text of which pieces are replaced by others is a config or one line."""
    path = world()
    text = path.read_text()
    for at, length, piece in edits:
        place = round(at * len(text))
        text = text[:place] + piece + text[place + length :]
    path.write_text(text)
    try:
        require_recorded(load_config(path))
    except ConfigError as error:
        assert is_line(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gate]\nkl = nan\n", "gate.kl' = nan: give a finite number"),
        ("[gate]\nkl = { bound = inf }\n", "gate.kl.bound' = inf"),
        ("[edit.options]\nx = [-inf]\n", "edit.options.x.0' = -inf"),
        ("[plan]\nmax_edits = " + "9" * 5000 + "\n", "an integer of thousands of digits"),
        ("[plan]\nmax_edits = 0x" + "f" * 5000 + "\n", "more than 64 bits"),
        ("x = " + "[" * 2000 + "]" * 2000 + "\n", "nested too deep"),
        ("a." * 500 + "b = 1\n", "nested deeper than 32 levels"),
        ('[model]\nlicense = "a\\u0000b"\n', "text has no NUL"),
        ('[edit]\ntext = "nope"\n', "edit.text .*nope: No such file"),
        (f'[edit]\ntext = "{"9" * 5000}"\n', "edit.text .*9 \\[...\\] 9.*: File name too long"),
        ('[evaluate]\ntext = "."\n', "evaluate.text .*it is a directory"),
        ('[evaluate]\ntext = "/dev/zero"\n', "it is a device"),
        ('[edit]\ntext = "text.bin"\n', "not UTF-8"),
        ('relations = "nope.json"\n', "relations file .*No such file"),
        ('relations = "."\n', "relations file .*it is a directory"),
        ('relations = "deep.json"\n', "recursion"),
        ("editions = []\n", "editions"),
        ('editions = ["a"]\n', "'editions.0' = 'a'"),
        ("editions = [[]]\n", "'editions.0' = "),
        ("gate = 5\n", "'gate' = 5"),
        ("[[editions]]\nas_of = 9999-12-31\n", "9999-12-31 is no day of the years 1000 to"),
        ("[[editions]]\nas_of = 0001-01-01\n", "0001-01-01 is no day"),
        ("[[editions]]\nas_of = 1656547200\n", "1656547200 is no day"),
        ('[[editions]]\nas_of = "1656547200"\n', "'1656547200' is no day"),
        ('[[editions]]\nas_of = ""\n', "'' is no day"),
        ("[[editions]]\nas_of = false\n", "False is no day"),
        ("[[editions]]\nas_of = 07:32:00\n", "is no day"),
        (f"[[editions]]\nversion = {'.'!r}\n", "version '.'"),
        (f"[[editions]]\nversion = {'..'!r}\n", "version '..'"),
        (f"[[editions]]\nversion = {'../x'!r}\n", "version '../x'"),
        (f"[[editions]]\nversion = {''!r}\n", "version ''"),
        (f"[[editions]]\nversion = {'x.partial'!r}\n", "names that end in .partial"),
        (f"[[editions]]\nversion = {'x-without-culprits'!r}\n", "end in -without-culprits"),
        (
            "[[editions]]\nas_of = 2020-01-01\nversion = 'V'\n"
            "[[editions]]\nas_of = 2021-01-01\nversion = 'v'\n",
            "two editions have one version",
        ),
    ],
)
def test_what_once_was_a_traceback_or_worse(text: str, message: str, tmp_path: Path) -> None:
    """Each is refused in one line when the config is read, hours before it would matter."""
    path = tmp_path / "config.toml"
    (tmp_path / "text.bin").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    path.write_text(LEAST + text if text.startswith("[") else text + LEAST)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert is_line(caught.value)


@pytest.mark.parametrize(
    "as_of",
    [
        "2022-06-30",
        "2022-06-30T00:00:00",
        "2022-06-30T23:59:59.999Z",
        "2022-06-30 00:00:00+14:00",
        '"2022-06-30"',
        '"20220630"',
        '"2022-06-30T00:00:00"',
        '"2022-06-30 00:00"',
        '"2022-06-30T00:00:00-11:00"',
    ],
)
def test_an_edition_is_named_by_the_day_that_is_written(
    as_of: str, world: Callable[..., Path]
) -> None:
    """A day with a time, as TOML or as text, in any zone: the edition is that of the day."""
    config = load_config(world(f"[[editions]]\nas_of = {as_of}\n"))
    assert config.editions[-1] == Edition(as_of=date(2022, 6, 30), version="2022.06.30")
    with_version = load_config(world(f"[[editions]]\nas_of = {as_of}\nversion = 'x'\n"))
    assert with_version.editions[-1] == Edition(as_of=date(2022, 6, 30), version="x")


@pytest.mark.parametrize("word", ["a.b=1", "a.b.c=1"])
def test_a_setting_below_a_value(word: str) -> None:
    """Of words on the command line too, one line."""
    with pytest.raises(ConfigError, match="nothing is below it"):
        nested(["a=1", word])


@pytest.mark.parametrize(
    "relations",
    [
        *(5, [], {"relations": []}, {"relations": {"P6": 5}}, {"relations": {"P6": {}}}),
        {"relations": {"P6": {"label": "head", "statements": 5, "held_out": [[]]}}},
        {"relations": {"P6": {"label": "head", "subject_type": ["x"]}}},
        {"relations": {"P6": {"label": "head", "object_type": 5}}, "unrelated": ["x"]},
        {"relations": {"P6": {"label": ""}}, "unrelated": {"thing": 5}},
    ],
)
def test_relations_of_any_shape(relations: Any, tmp_path: Path) -> None:
    """A file of relations with anything in it is relations, or one line with the relation."""
    path = tmp_path / "relations.json"
    path.write_text(json.dumps(relations))
    try:
        assert load_relations(path)
    except ConfigError as error:
        assert is_line(error)


@pytest.mark.parametrize("editor", [None, *EDITORS])
@pytest.mark.parametrize("loads", [None, "checkpoint", "adapter", "ours"])
def test_what_the_server_loads_goes_with_the_editor(
    editor: str | None, loads: str | None, tmp_path: Path
) -> None:
    """It chooses one where none is set, and refuses one whose edits would not be served."""
    path = tmp_path / "c.toml"
    served = f'[serve]\nloads = "{loads}"\n' if loads else ""
    edited = f'[edit]\neditor = "{editor}"\n' if editor else ""
    path.write_text(f"{LEAST}{served}{edited}")
    made = EDITORS[editor] if editor else None
    refused = (loads == "checkpoint" and made and not made.in_checkpoint) or (
        loads == "adapter" and made and not made.low_rank
    )
    if refused:
        with pytest.raises(ConfigError, match=r"which holds no edit of .* set edit.editor to one"):
            load_config(path)
        return
    chosen = {"ours": "scoped", "checkpoint": "errata"}.get(loads or "", "memit")
    assert load_config(path).edit.editor == (editor or chosen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('editor = "scoped"\n[edit.over]\neditor = "grace"', r"edit.editor = 'scoped' changes no "),
        ('[edit.over]\neditor = "ft-m"', r"edit.over.editor = 'ft-m' changes weights too"),
        ('[edit.over]\neditor = "scopd"', r"edit.over.editor = 'scopd' is unknown"),
        ('[edit.over]\neditor = "scoped"\noptions = {x = 1}', r"\[edit.over.options\]"),
        ("[edit.over]\noptions = {}", r"edit.over.editor"),
        *(
            (f'[edit.over]\neditor = "scoped"\n[serve]\nloads = "{loads}"', rf"Either {advice}, ")
            for loads, advice in (
                ("checkpoint", "set edit.over.editor to one of errata"),
                ("adapter", "leave edit.over out"),
            )
        ),
    ],
)
def test_a_second_lane_that_cannot_be(text: str, message: str, tmp_path: Path) -> None:
    """Its editor keeps facts beside weights that the first editor changes, and the server loads
    what it makes; anything else is one line that names the setting."""
    path = tmp_path / "c.toml"
    path.write_text(f"{LEAST}[edit]\n{text}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert is_line(caught.value)


@pytest.mark.parametrize(
    ("loads", "over"), [(None, "scoped"), ("ours", "scoped"), ("checkpoint", "errata")]
)
def test_a_second_lane_stands_beside_weights(loads: str | None, over: str, tmp_path: Path) -> None:
    """With it, what is chosen where no editor is set changes weights."""
    path = tmp_path / "c.toml"
    served = f'[serve]\nloads = "{loads}"\n' if loads else ""
    path.write_text(f'{LEAST}{served}[edit.over]\neditor = "{over}"\noptions = {{ chunk = 2 }}\n')
    lanes = load_config(path).edit.lanes
    assert [lane.editor for lane in lanes.values()] == ["memit", over]
    assert lanes["edit.over"].options == {"chunk": 2} and lanes["edit"].options == {}
