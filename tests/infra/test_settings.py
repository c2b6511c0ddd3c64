"""Settings: an unknown key names the nearest known one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from editors.local_modification.gradient_based.memit import Memit
from infra.errors import ConfigError
from infra.settings import validate
from pipeline.config import load_config
from pipeline.edit.config import EditConfig, make_editor


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[probing]\nx = 1\n", "setting 'probing' is unknown .did you mean 'probe'"),
        ("[[editions]]\nas_off = 2022-01-01\n", "did you mean 'as_of'"),
        ('[[editions]]\nas_of = "June"\n', "as_of"),
        ("[[editions]]\nas_of = 2019-01-01\n", "in the order of their as_of"),
        ("[[editions\n", "is not TOML"),
        (
            '[[sources]]\nkind = "table"\nname = "t"\npath = "a.csv"\ncolums = {}\n',
            "did you mean 'columns'.*Known: name, kind, path, columns",
        ),
        ("[extra.x]\n", "setting 'extra' is unknown"),
    ],
)
def test_a_bad_config_is_one_clear_line(
    text: str, message: str, world: Callable[..., Path]
) -> None:
    """What was given and what is allowed, without a traceback."""
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(world(text))
    assert "\n" not in str(caught.value)


def test_an_edition_is_named_by_its_day(world: Callable[..., Path]) -> None:
    """Whether the day is a TOML date or text."""
    config = load_config(world("[[editions]]\nas_of = 2024-01-01\n"))
    assert [edition.version for edition in config.editions[-1:]] == ["2024.01.01"]
    config = load_config(world('[[editions]]\nas_of = "2024-02-01"\n'))
    assert [edition.version for edition in config.editions[-1:]] == ["2024.02.01"]


def test_a_missing_config(tmp_path: Path) -> None:
    """Names the file."""
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"editor": "memt"}, "did you mean 'memit'"),
        ({"options": {"layer": [3]}}, "setting 'layer' is unknown .did you mean 'layers'"),
        ({"options": {"values": {"stepz": 3}}}, "did you mean 'steps'"),
        (
            {"options": {"chunk": 0}},
            r"^config \[edit.options\]: MemitConfig: chunk=0 is outside \[1, 4096\]\.$",
        ),
        ({"options": {"values": {"clamp": -1}}}, "ValueConfig: clamp=-1"),
    ],
)
def test_bad_editor_settings(options: dict, message: str) -> None:
    """Editors and their options are checked the same way."""
    with pytest.raises(ConfigError, match=message):
        make_editor(EditConfig(**options))


def test_bad_editor_settings_are_found_before_anything_runs(world: Callable[..., Path]) -> None:
    """A wrong editor, or a wrong setting of it, is an error of the config."""
    for old, new, message in (
        ("[edit]", '[edit]\neditor = "memitt"', "did you mean 'memit'"),
        ("chunk = 4", "chunk = 0", "chunk=0"),
    ):
        config = world()
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=message):
            load_config(config)


def test_relative_texts_are_beside_the_config(world: Callable[..., Path]) -> None:
    """A config can be run from anywhere."""
    path = world()
    assert load_config(path).edit.text == str(path.parent / "text.txt")


def test_only_settings_are_named_as_known() -> None:
    """What a dataclass holds beside its fields is no setting."""
    with pytest.raises(ConfigError) as caught:
        validate(Memit.Config, {"layer": 3}, "options")
    assert "did you mean 'layers'" in str(caught.value) and "__" not in str(caught.value)
