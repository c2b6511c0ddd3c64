"""Put references in the place of secrets that were given as answers: no config holds one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from discovery.sources import AskedConfig, BulkConfig
from discovery.sources.settings import SourceSettings
from infra.secrets.masks import Piece, is_secret_name, rewrite

CONFIGS: Mapping[str, type[SourceSettings]] = {
    config.model_fields["kind"].default: config
    for config in (*get_args(AskedConfig), *get_args(BulkConfig))
}
"""Kind of source -> the class of its config."""


class Referrer:
    """Names an environment variable for each secret of one source."""

    def __init__(self, source: str) -> None:
        """
        source  name of the source, with which the names of the variables begin
        """
        self.source = source
        self.variables: dict[str, str] = {}
        """Secret -> the variable that stands for it."""
        self.encoded: set[str] = set()
        """Variables of secrets in addresses, which are percent-encoded as they are filled in."""

    def settings(self, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a source of a kind, with references in the place of secrets."""
        may_hold = CONFIGS[kind].may_hold_secrets
        found = dict(values)
        for key in filter(values.__contains__, may_hold):
            before = set(self.variables.values())
            found[key] = rewrite(may_hold[key], values[key], self._written)
            if may_hold[key] == "address":
                self.encoded |= set(self.variables.values()) - before
        return found

    def notes(self) -> list[str]:
        """A sentence for each variable, which says what it must be set to."""
        found = []
        for secret, name in self.variables.items():
            encoded = "%" in secret and name in self.encoded
            how = ", with each percent sign and its two digits decoded," if encoded else ""
            found.append(
                f"A secret is not written into the config, but ${{{name}}} in its place: set the "
                f"environment variable {name} to it{how} before a run."
            )
        return found

    def _written(self, piece: Piece) -> str:
        """What is written in the place of a piece: itself, if nothing says that it is a secret; the
        name of a user stays."""
        if not (piece.certain or is_secret_name(piece.name)):
            return piece.text
        if piece.name:
            bare = piece.text.strip("'")
            return piece.text.replace(bare, self._reference(bare, piece.name))
        user, colon, password = piece.text.partition(":")
        if not colon:
            return self._reference(user, "login")
        return f"{user}:{self._reference(password, 'password')}"

    def _reference(self, secret: str, role: str) -> str:
        """The reference to the variable of a secret."""
        if secret not in self.variables:
            name = re.sub(r"\W", "_", f"{self.source}_{role}", flags=re.ASCII).upper()
            name = f"_{name}" if name[0].isdigit() else name
            number = sum(re.fullmatch(rf"{name}(_\d+)?", used) is not None
                         for used in self.variables.values())  # fmt: skip
            self.variables[secret] = f"{name}_{number + 1}" if number else name
        return f"${{{self.variables[secret]}}}"
