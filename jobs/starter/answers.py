"""Collect the answers: those given as flags, else asked for, else proposed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.errors import ConfigError
from infra.models.embedded import EMBEDDED
from infra.settings import nearest
from jobs.starter.kinds import KINDS
from jobs.starter.question import Kind, Look, Place, Question

Ask = Callable[[str, str, bool], str]
"""Asks a person: the question, the proposed answer, whether it may be left empty."""
Tell = Callable[[str], None]
"""Tells a person a sentence."""


def given_by_flags(given: Sequence[str], kind: str) -> dict[str, str]:
    """Key -> answer, of words `key=value`.

    Raises ConfigError for a word without `=`, and for a key that the kind has no question of.
    """
    known = [question.key for question in KINDS[kind].questions]
    found = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set {word!r} has no value. Write --set KEY=VALUE.")
        if key not in known:
            raise ConfigError(
                f"--set {key!r}: a {kind} source is not asked for it{nearest(key, known)}. "
                f"Known: {', '.join(known)}."
            )
        found[key] = value
    return found


class Collector:
    """Collects the answers to the questions of one kind of source."""

    def __init__(self, kind: str, place: Place, ask: Ask | None, tell: Tell) -> None:
        """
        ask  None where there is nobody to ask
        """
        self.kind: Kind = KINDS[kind]
        self.place, self.ask, self.tell = place, ask, tell
        self.answers: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self.missing: list[str] = []
        """Flags that are missing where nobody is asked."""

    def collect(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Key -> value of each setting that has one.

        Raises ConfigError for an answer that is none, and for one that is missing, with the flags
        that give it; SourceError where what is named cannot be read.
        """
        proposals: Mapping[str, str] = {}
        for question in self.kind.questions:
            proposed = proposals.get(question.key, question.default)
            self._answer(question, given, proposed)
            if question.key == self.kind.look_after and self.answers.get(question.key):
                look = self._look()
                proposals = look.proposals
                for note in look.notes:
                    self.tell(note)
        one_of = self.kind.one_of
        if one_of and not any(self.values.get(key) for key in one_of):
            self.missing.append(" or ".join(f"--set {key}=..." for key in one_of))
        return self.values

    def _answer(self, question: Question, given: Mapping[str, str], proposed: str) -> None:
        """Take the answer to one question, and ask again while it is none."""
        text = given.get(question.key)
        while True:
            if text is None:
                text = proposed if self.ask is None else self._asked(question, proposed)
            if not text:
                if not question.optional:
                    self.missing.append(f"--set {question.key}=...")
                return
            try:
                value = question.read(text, self.place)
            except ConfigError as error:
                if self.ask is None or question.key in given:
                    raise
                self.tell(str(error))
                text = None
                continue
            self.answers[question.key] = text
            if not (question.table == "columns" and text == question.key):
                self.values[question.key] = value
            return

    def _asked(self, question: Question, proposed: str) -> str:
        """The answer of a person."""
        assert self.ask is not None
        return self.ask(question.text, proposed, question.optional)

    def _look(self) -> Look:
        """What the answers so far lead to. Raises CorrigendaError."""
        return self.kind.look(self.answers, self.place)


def require(missing: Sequence[str]) -> None:
    """Raise ConfigError where flags are missing."""
    if missing:
        raise ConfigError(
            f"there is no terminal to ask on, and these are missing: {', '.join(missing)}. Give "
            "them as flags; `corrigenda init --help` lists all."
        )


def look_at_model(name: str, place: Place) -> str:
    """What the name of a model leads to, as a sentence. Raises ConfigError where to nothing."""
    path = place.here / Path(name).expanduser()
    if name == EMBEDDED:
        return f"{name} is the small model that comes with Corrigenda."
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(
                f"model {name!r} is a directory without config.json. Give one that save_pretrained "
                "wrote, with config.json, *.safetensors and tokenizer.json."
            )
        return f"{name} is a directory with a model."
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ConfigError(
            f"model {name!r} is no directory here. Give one, {EMBEDDED!r}, or an id of the "
            "Hugging Face hub (owner/name)."
        )
    return f"{name} is no directory here, so it is an id of the Hugging Face hub."


def source_name(kind: str, answers: Mapping[str, str]) -> str:
    """A name for a source: that of its file, else its kind."""
    stem = Path(answers.get("path", "")).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or kind
