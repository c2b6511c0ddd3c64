"""The real addresses of a source, and its secrets, as its HTTP client knows them.

Everything that a client is asked for, returns or raises has addresses as they may be written. Only
a request has the secrets in it, and only one to a host that the settings name: a link that somebody
else wrote gets none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from infra.errors import AddressError
from infra.http.addresses import origin_of, shown
from infra.secrets.references import LOGIN
from infra.secrets.scrubber import Scrubber


@dataclass(frozen=True)
class PrivateAddresses:
    """Addresses that are requested otherwise than they are written."""

    real: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Address as it is written -> as it is requested."""
    scrubber: Scrubber = field(default_factory=Scrubber)
    """Takes the secrets out of what hosts answer."""

    def at(self, url: str) -> str:
        """The address to request for a written one, or for a link that was read.

        What begins with a written address, the longest of them, is the real one; of another address
        of the same origin, user info and known secrets are filled in.
        """
        for written in sorted(self.real, key=len, reverse=True):
            rest = url[len(written) :]
            if url.startswith(written) and (not rest or rest[0] in "/?&#"):
                return self.real[written] + rest
        login = self._logins.get(_origin(url))
        if login is None:
            return url
        for label, value in self._labels.items():
            url = url.replace(label, value)
        return url if LOGIN.match(url) else url.replace("://", f"://{login}", 1)

    def shown(self, url: str) -> str:
        """A requested address as errors show it."""
        for written, real in sorted(self.real.items(), key=lambda pair: -len(pair[1])):
            if url.startswith(real):
                return shown(written + self.scrubber.text(url[len(real) :]))
        return shown(self.scrubber.text(url))

    @cached_property
    def _logins(self) -> dict[str, str]:
        """Origin -> user info of the first address there, with its `@`; empty where it has none."""
        found: dict[str, str] = {}
        for written, real in self.real.items():
            login = LOGIN.match(real)
            for origin in {_origin(written), _origin(real)} - {""}:
                found.setdefault(origin, f"{login[2]}@" if login else "")
        return found

    @cached_property
    def _labels(self) -> dict[str, str]:
        """Label of a secret in a link -> its value as it stands in an address, long labels first.
        What the settings have in full stands there as it is."""
        known = sorted(self.scrubber.known, key=lambda secret: -len(secret.label))
        return {
            secret.label: quote(secret.value, safe="") if "$" in secret.label else secret.value
            for secret in known
        }


def _origin(url: str) -> str:
    """The origin of an address, empty for text that is none."""
    try:
        return origin_of(url)
    except AddressError:
        return ""
