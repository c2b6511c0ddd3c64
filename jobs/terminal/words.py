"""Words for codes in records, counts and progress files, and formats of numbers, for printing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DOING: Mapping[str, str] = {
    "crawl": "reading the sources",
    "snapshot": "collecting what the sources say",
    "diff": "comparing with the snapshot before",
    "probe": "asking the model what it believes",
    "plan": "choosing what to edit",
    "edit": "editing the model",
    "evaluate": "testing the edited model",
    "gate": "checking the results against the bounds",
    "release": "writing the release",
}
"""Stage -> what it does while it runs."""

PHASES: Mapping[str, str] = {
    "fetch": "fetching documents",
    "parse": "reading what was fetched",
    "facts": "sorting the facts",
    "entities": "sorting the names",
    "select": "finding what differs",
    "judge": "deciding what has changed",
    "shards of questions": "asking questions",
    "capability tasks": "asking general test questions",
    "statistics": "measuring the model on ordinary text",
    "statistics merged": "adding up the measurements",
    "requests sorted": "preparing the edits",
    "values": "finding what the model has to store",
    "keys": "finding where the model looks facts up",
    "trunk": "running the layers that stay as they are",
    "solve": "computing the change of the weights",
    "codebook": "writing the entries of the codebook",
    "scoped values": "writing the values of the subjects",
    "errata": "writing the tokens of the subjects",
    "search for culprits": "looking for the edits that do harm",
}
"""Phase of a progress file -> what is done in it."""

WAITS: Mapping[str, str] = {
    "edit budget": "over the limit of edits in one release",
    "probe budget": "over the limit of questions to the model",
    "quorum": "too few sources say so",
    "cool-down": "too new, may still be undone at the source",
    "clock": "dated after the day of this edition",
    "living person": "about a living person",
    "source": "from a source that is not trusted by itself",
    "contradiction": "sources disagree",
    "unreadable": "a part cannot be read",
    "revert risk": "likely to be undone at the source",
    "review": "the model contradicts itself",
    "future": "not true before a later day",
    "undecided": "the dates leave open whether it is true now",
}
"""Rule that makes a change wait -> the reason."""
BULK = "bulk "
"""Prefix of rules that make a large set of changes wait; the rest of the rule says who or what made
the changes."""

ROUTED: Mapping[str, str] = {
    "contested": "the sources contradict each other",
    "by policy": "the config sends its relation there",
    "number": "a number",
    "date": "a date",
    "scoped": "one of several values, each with a condition",
    "set": "several values are true at once",
    "long": "too long for an edit",
    "never known": "the model never knew it",
    "weights full": "the weights have no room for it",
}
"""Rule that sends a fact to the fact sheet -> the reason."""

IGNORED: Mapping[str, str] = {
    "6": "old and new value have the same name",
    "7": "not true before a later day",
    "8": "began and ended between the snapshots",
    "9": "ended before the earlier snapshot",
    "10": "the dates leave open whether it is true now",
    "15": "the source says that the value is unknown",
    "22": "the source gives no date for it",
    "23": "a part of what the source says cannot be read",
}
"""Rule of the diff by which changes are always ignored -> the reason."""

KINDS: Mapping[str, str] = {
    "learn": "new",
    "replace": "changed",
    "forget": "no longer true",
    "vacated": "ended, with nothing in its place",
    "keep": "as before",
    "conflict": "contradictory",
    "ignored": "set aside",
}
"""Kind of a change -> what happened to the fact."""

VERDICTS: Mapping[str, str] = {
    "stale": "still believes the old value",
    "unknown": "does not know it",
    "knows": "knows it",
    "inconsistent": "contradicts itself",
}
"""Verdict -> what the model believes of a change."""

TRUST: Mapping[str, str] = {
    "eligible": "yes",
    "held": "not before a person or better evidence says so",
    "cooling": "not yet, it is too new",
    "rejected": "never",
}
"""State of a change -> whether it may be acted on."""

ACTIONS: Mapping[str, str] = {
    "correct": "corrected",
    "teach": "taught",
    "carry": "kept from the release before",
}
"""Action of a planned edit -> what it does."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")
"""Units of size, each 1000 times the one before."""


def waits(key: str) -> str:
    """The reason why changes wait, from a key of a plan's counts such as `held: quorum`."""
    rule = key.partition(": ")[2] or key
    if rule.startswith(BULK):
        return f"one of very many changes at once ({rule.removeprefix(BULK)})"
    return WAITS.get(rule, rule)


def refused(reason: str) -> str:
    """A refusal's reason without the kind of change that it may begin with."""
    kind, colon, sentence = reason.partition(": ")
    return sentence if colon and kind in KINDS else reason


def phase(text: str) -> str:
    """What is done in a phase, from a progress file's text: `values, loss 0.04, 21 s left`."""
    name = text.partition(",")[0]
    return PHASES.get(name, name)


def many(number: int, noun: str, nouns: str = "") -> str:
    """A number with its noun: `1 fact`, `1,013 facts`; `nouns` is an irregular plural."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def size(num_bytes: int) -> str:
    """A number of bytes: `470 kB`, `1.4 MB`."""
    power = min(len(UNITS) - 1, (len(str(num_bytes)) - 1) // 3)
    number = num_bytes / 1000**power
    return f"{number:.{int(power > 0 and number < 10)}f} {UNITS[power]}"


def duration(seconds: float) -> str:
    """A duration in words: `0.4 s`, `31 s`, `2 min 5 s`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def brief(value: Any) -> str:
    """A count of a record as text; of a mapping of counts, the largest four."""
    if isinstance(value, Mapping):
        top = sorted(value.items(), key=lambda item: -item[1] if isinstance(item[1], int) else 0)
        return " / ".join(f"{n} {name}" for name, n in top[:4]) or "none"
    if isinstance(value, str) and len(value) > 12:
        return value[:12]
    return str(value)
