"""Take known secrets out of texts, in every encoding in which they may stand there."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

from infra.errors import CorrigendaError, SourceError
from infra.secrets.masks import mask_message

MIN_CHARS = 3
"""Characters of the shortest secret that is looked for; it must stand there as a word."""
WORD_CHARS = 8
"""Characters from which on a secret is found inside of a word, and in content as well: a shorter
one may stand there by chance."""


@dataclass(frozen=True, slots=True)
class Known:
    """A secret whose value is known."""

    label: str
    """Written in its place; a reference is its own label."""
    value: str = field(repr=False)


@dataclass(frozen=True)
class Scrubber:
    """Takes the secrets of one source out of what is written and printed."""

    known: tuple[Known, ...] = field(default=(), repr=False)

    def text(self, text: str) -> str:
        """A message without the secrets."""
        return self._in_messages.text(text)

    def content(self, body: bytes) -> bytes:
        """What a source sent, without the secrets that are long enough not to stand there by
        chance."""
        return self._in_content.content(body)

    def link(self, url: str) -> str:
        """A link out of content, likewise."""
        return self._in_content.text(url)

    def error(self, error: Exception) -> Exception:
        """The error with a message that has none of the secrets: of its own class where that is one
        of ours, else a SourceError."""
        said = mask_message(self.text(str(error)))
        if isinstance(error, CorrigendaError):
            return type(error)(said)
        return SourceError(f"{type(error).__name__}: {said}")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Raise errors without the secrets, and without what they were made from.

        An error of a library that has none of the secrets is raised as it is.
        """
        try:
            yield
        except CorrigendaError as error:
            raise self.error(error) from None
        except Exception as error:
            if any(self.text(str(cause)) != str(cause) for cause in _causes(error)):
                raise self.error(error) from None
            raise

    @cached_property
    def _in_messages(self) -> _Patterns:
        return _Patterns(self.known, MIN_CHARS)

    @cached_property
    def _in_content(self) -> _Patterns:
        return _Patterns(self.known, WORD_CHARS)


class _Patterns:
    """A pattern for each of some secrets, the longest first."""

    def __init__(self, known: Iterable[Known], least: int) -> None:
        secrets = sorted(known, key=lambda secret: -len(secret.value))
        self.patterns = [
            (re.compile(_pattern(secret.value)), secret.label)
            for secret in secrets
            if len(secret.value) >= least
        ]
        self.wide = [secret for secret in secrets if len(secret.value) >= least]

    def text(self, text: str) -> str:
        """The text with labels in the place of the secrets."""
        for pattern, label in self.patterns:
            text = pattern.sub(lambda _, label=label: label, text)
        return text

    def content(self, body: bytes) -> bytes:
        """The bytes likewise, whether the text in them is UTF-8 or UTF-16."""
        if not self.patterns:
            return body
        for secret in self.wide:
            for coding in ("utf-16-le", "utf-16-be"):
                form = secret.value.encode(coding, "surrogatepass")
                body = body.replace(form, secret.label.encode(coding))
        text = body.decode("utf-8", "surrogateescape")
        clean = self.text(text)
        return body if clean == text else clean.encode("utf-8", "surrogateescape")


def _pattern(value: str) -> str:
    """A pattern for a secret in any encoding of addresses, JSON, Python and HTML, also where they
    are mixed, in base64 and in hexadecimal. A short one must not stand inside of a word."""
    plain = {value, unquote(value)}
    forms = {"".join(map(_character, text)) for text in plain}
    for text in plain:
        data = text.encode("utf-8", "surrogatepass")
        codes = {base64.b64encode(data), base64.urlsafe_b64encode(data)}
        forms |= {re.escape(code.decode().rstrip("=")) + "=*" for code in codes}
        forms |= {f"(?i:{data.hex()})"}
    found = "|".join(sorted(forms, key=len, reverse=True))
    if len(value) >= WORD_CHARS:
        return f"(?:{found})"
    return f"(?<![A-Za-z0-9])(?:{found})(?![A-Za-z0-9])"


def _character(char: str) -> str:
    """A pattern for one character in every encoding; also of addresses inside of addresses, whose
    percent signs are encoded again."""
    octets = char.encode("utf-8", "surrogatepass")
    ways = {re.escape(char), "(?i:" + "".join(f"%(?:25)*{octet:02x}" for octet in octets) + ")"}
    if char.isalnum() and char.isascii():
        return f"(?:{'|'.join(sorted(ways))})"
    written = {json.dumps(char)[1:-1], repr(char)[1:-1], html.escape(char), f"\\{char}"}
    ways |= {re.escape(text) for text in written} | ({r"\+"} if char == " " else set())
    return f"(?:{'|'.join(sorted(ways, key=len, reverse=True))})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was made from."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
