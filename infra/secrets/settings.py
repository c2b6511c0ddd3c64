"""The base class of settings that may hold secrets, which keeps them out of all that is written.

Fields hold what may be written: references, and `***` in the place of a secret that stands in the
config in full. What was given, and the values that references stand for, are private: they are in
no dump, no repr and no fingerprint, and travel with the settings to the process that needs them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

from infra.secrets import masks
from infra.secrets.masks import HIDDEN, Piece, SettingKind
from infra.secrets.references import (
    LOGIN,
    fill,
    fill_address,
    references,
    resolve,
    spelled_out,
)
from infra.secrets.scrubber import WORD_CHARS, Known, Scrubber


class SecretSettings(BaseModel):
    """Settings some of which may hold secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    may_hold_secrets: ClassVar[Mapping[str, SettingKind]] = {}
    """Name of each setting that may hold a secret -> what else it holds."""

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)
    """Those of them that the config has otherwise than the fields."""
    _values: dict[str, str] = PrivateAttr(default_factory=dict)
    """Reference -> value, once they are filled in."""

    def model_post_init(self, context: Any) -> None:
        """Put into the fields what may be written."""
        for name, kind in self.may_hold_secrets.items():
            given = getattr(self, name)
            if kind == "address":
                given = _each(spelled_out, given)
            written = masks.rewrite(kind, given, masks.shown)
            if isinstance(written, tuple):
                written = _numbered(written, given)
            object.__setattr__(self, name, written)  # the model is frozen
            if written != given:
                self._given[name] = given

    def identity(self, without: Collection[str] = ()) -> dict[str, Any]:
        """The settings as JSON, for a fingerprint: a secret that changes does not change them.

        without  names of settings that are left out
        """
        found = self.model_dump(mode="json", exclude=set(without))
        for name in self._given.keys() - set(without):
            given = self._given[name]
            value = masks.rewrite(self.may_hold_secrets[name], given, masks.identity)
            found[name] = list(_numbered(value, given)) if isinstance(value, tuple) else value
        return found

    def filled(self, where: str) -> Self:
        """The settings with the value of each reference, which `real` gives.

        where  whose settings they are, for errors

        Raises ConfigError for a reference without a value.
        """
        values = {
            reference: resolve(reference, where=where, setting=name)
            for name in self.may_hold_secrets
            for reference in references(self._as_given(name))
        }
        filled = self.model_copy()
        filled._values = values
        return filled

    def real(self, name: str) -> Any:
        """A setting as the source is asked with it."""
        given, values = self._as_given(name), self._values
        if not values:
            return given
        if self.may_hold_secrets[name] == "address":
            return _each(lambda address: fill_address(address, values), given)
        return fill(given, values)

    @property
    def addresses(self) -> dict[str, str]:
        """Each address as it is written -> as it is requested, for those that differ."""
        found = {}
        for name, kind in self.may_hold_secrets.items():
            if kind == "address" and (written := getattr(self, name)) is not None:
                both = (written, self.real(name))
                pairs = [both] if isinstance(written, str) else zip(*both, strict=True)
                found |= {text: real for text, real in pairs if text != real}
        return found

    @property
    def scrubber(self) -> Scrubber:
        """Takes the secrets of these settings out of texts."""
        known = [Known(label, value) for label, value in self._values.items()]
        logins = (LOGIN.match(address) for address in self.addresses.values())
        literal = [login[2] for login in logins if login]
        for piece in self._pieces():
            if piece.certain or len(piece.text) >= WORD_CHARS:
                literal.append(piece.text)
            user, colon, password = piece.text.partition(":")
            if piece.certain and colon and user:
                literal.append(password)
        for number, value in enumerate(dict.fromkeys(literal), 1):
            known.append(Known(f"{HIDDEN}{number}", value))
        return Scrubber(tuple(known))

    @property
    def literal_secrets(self) -> list[str]:
        """Names of the settings in which a secret stands in full."""
        return sorted({name for name in self._given for p in self._pieces(name) if p.certain})

    def _as_given(self, name: str) -> Any:
        """A setting as the config has it."""
        return self._given.get(name, getattr(self, name))

    def _pieces(self, *names: str) -> list[Piece]:
        """What may be a secret in settings of these names, or in all."""
        return [
            piece
            for name in names or self._given
            for piece in masks.pieces(self.may_hold_secrets[name], self._given[name])
        ]


def _each(change: Any, addresses: Any) -> Any:
    """One address, or each of several, changed."""
    if isinstance(addresses, tuple):
        return tuple(change(address) for address in addresses)
    return addresses if addresses is None else change(addresses)


def _numbered(written: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses as they are written, with a number behind those that are written like another
    and are not the same."""
    number: dict[str, list[str]] = {}
    found = []
    for text, address in zip(written, given, strict=True):
        same = number.setdefault(text, [])
        if address not in same:
            same.append(address)
        place = same.index(address)
        found.append(f"{text}#{place + 1}" if place else text)
    return tuple(found)
