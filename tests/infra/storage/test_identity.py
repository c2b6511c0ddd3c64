"""The fingerprint of a stage follows from the value that it takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, make_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from infra.storage.identity import MAX_CHARS, NO_IDENTITY, identity_of


class Settings(BaseModel):
    rate: float = 0.5
    names: tuple[str, ...] = ()


class FileSettings(BaseModel):
    text: str

    def identity(self) -> dict[str, str]:
        return {"text": Path(self.text).read_text()}


@dataclass(frozen=True)
class Made:
    path: Path
    digest: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    day: date = date(2020, 1, 1)
    config: Settings = field(default_factory=Settings)
    made: Made = field(default_factory=lambda: Made(Path("a"), "one"))
    pairs: frozenset[tuple[str, str]] = frozenset({("b", "c"), ("a", "z")})
    cache: Path = field(default=Path("here"), metadata=NO_IDENTITY)


@pytest.mark.parametrize(
    "change",
    [
        {"day": date(2020, 1, 2)},
        {"config": Settings(rate=0.25)},
        {"config": Settings(names=("x",))},
        {"made": Made(Path("a"), "two")},
        {"pairs": frozenset({("a", "z")})},
    ],
)
def test_every_field_counts(change: dict[str, Any]) -> None:
    """Another value of any field is another identity; the rest of it is as before."""
    one, two = identity_of(Inputs()), identity_of(Inputs(**change))
    assert {name for name in one if one[name] != two[name]} == set(change)


def test_places_and_caches_do_not_count() -> None:
    """The same content at another place, kept in another cache, in another order of a set."""
    moved = Inputs(made=Made(Path("b"), "one"), cache=Path("there"))
    shuffled = dataclasses.replace(moved, pairs=frozenset({("a", "z"), ("b", "c")}))
    assert identity_of(shuffled) == identity_of(Inputs())
    assert "cache" not in identity_of(moved)


def test_a_new_field_counts_by_itself() -> None:
    """Whoever adds a setting to a stage's inputs has it in the fingerprint without a further
    line."""
    wider = make_dataclass("Wider", [("bias", float, 0.0)], bases=(Inputs,), frozen=True)
    assert identity_of(wider())["bias"] == 0.0
    assert identity_of(wider(bias=1.0)) != identity_of(wider())


def test_files_count_by_content(tmp_path: Path) -> None:
    """Settings that name a file: a copy elsewhere is the same, another text is not."""

    @dataclass(frozen=True)
    class Reads:
        config: FileSettings

    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, text in zip(paths, ("same", "same", "other"), strict=True):
        path.write_text(text)
    one, copy, other = (identity_of(Reads(FileSettings(text=str(path)))) for path in paths)
    assert one == copy and one != other


def test_long_values_are_digested() -> None:
    """A record stays readable: what is long stands in it by a digest, which moves with it; settings
    are spelled out, so that a message can name the one that differs."""

    @dataclass(frozen=True)
    class Long:
        text: str

    one, two = (identity_of(Long("x" * MAX_CHARS + end))["text"] for end in "ab")
    assert len(one) == len(two) == 64 and one != two
    names = tuple(f"name {n}" for n in range(MAX_CHARS))
    assert identity_of(Inputs(config=Settings(names=names)))["config"]["names"] == list(names)


@pytest.mark.parametrize("value", [Path("x"), object(), lambda: None])
def test_what_has_no_identity_is_refused(value: Any) -> None:
    """A path is no content, and a function cannot be compared: both need a mark or a digest."""

    @dataclass(frozen=True)
    class Odd:
        thing: Any

    with pytest.raises(TypeError, match=r"thing is a .* which has no identity"):
        identity_of(Odd(value))
