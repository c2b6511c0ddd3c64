"""What each stage did, as one sentence for readers who do not know the code.

Each function is given the counts of the stage's record and those that
`pipeline.queries.summary.details` adds. A count that is missing is left out of the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jobs.terminal.words import IGNORED, many, refused, size, waits
from pipeline.release.pages.figures import LANES

Counts = Mapping[str, Any]
"""Counts of a stage by name."""


def crawl(counts: Counts) -> str:
    """How many documents and lines were read from the sources, and how many were left out."""
    sources = sorted(counts.get("sources", {}).items(), key=lambda item: (-item[1], item[0]))
    by_source = _listed(f"{number:,} from {name}" for name, number in sources)
    num_lines = counts.get("lines")
    parts = [
        f"fetched {many(counts.get('observations', 0), 'document')}"
        + (f" ({size(counts['bytes'])})" if counts.get("bytes") else "")
        + (f": {by_source}" if len(sources) > 1 else "")
    ]
    if num_lines:
        parts.append(f"read {many(num_lines, 'line')} of files ({size(counts['bulk_bytes'])})")
    return _joined(*parts, _unusable(counts))


def snapshot(counts: Counts) -> str:
    """How many facts the sources hold, and how many pieces were left out."""
    facts = many(counts.get("facts", 0), "fact")
    entities = counts.get("entities", 0)
    named = f" and name {many(entities, 'person or thing', 'people and things')}"
    known = f"the sources hold {facts}{named if entities else ''}"
    return _joined(known, _unusable(counts), _damaged(counts))


def diff(counts: Counts) -> str:
    """How many facts are new, changed, ended or as before; how many changes are ignored; why."""
    kinds = counts.get("kinds", {})
    same = kinds.get("keep", 0) + counts.get("unchanged", 0)
    gone = kinds.get("forget", 0) + kinds.get("vacated", 0)
    happened = [
        (number, _verb(number, one, more))
        for number, one, more in (
            (kinds.get("learn", 0), "is new", "are new"),
            (kinds.get("replace", 0), "has changed", "have changed"),
            (gone, "has ended", "have ended"),
            (kinds.get("conflict", 0), "is contradictory", "are contradictory"),
            (same, "is as before", "are as before"),
        )
        if number
    ]
    clauses = [
        f"{f'{number:,}' if n else many(number, 'fact')} {what}"
        for n, (number, what) in enumerate(happened)
    ]
    reasons = {IGNORED[r]: n for r, n in counts.get("rules", {}).items() if r in IGNORED}
    return _joined(
        _listed(clauses) or "nothing is new or changed",
        _aside("{} set aside", kinds.get("ignored", 0), reasons),
    )


def probe(counts: Counts) -> str:
    """How many changes the model was asked about, its verdicts, and how many changes must wait."""
    verdicts, states = counts.get("verdicts", {}), counts.get("states", {})
    believed = _listed(
        words.format(f"{verdicts[verdict]:,}")
        for verdict, words in (
            ("stale", "{} it believes wrongly"),
            ("unknown", "{} it does not know"),
            ("knows", "{} it knows already"),
            ("inconsistent", "{} it contradicts itself about"),
        )
        if verdicts.get(verdict)
    )
    num_asked = counts.get("probed", 0)
    asked = f"asked the model about {many(num_asked, 'changed fact')}"
    waiting, new = states.get("held", 0), states.get("cooling", 0)
    return _joined(
        f"{asked}: {believed}" if num_asked else "nothing had to be asked of the model",
        f"{waiting:,} {_verb(waiting, 'waits', 'wait')} for a second source or a person"
        if waiting
        else "",
        f"{new:,} {_verb(new, 'is', 'are')} too new to act on" if new else "",
        f"{states['rejected']:,} may never be edited" if states.get("rejected") else "",
    )


def plan(counts: Counts) -> str:
    """How many edits are planned; how many changes wait, are refused or go on the fact sheet."""
    actions = counts.get("actions", {})
    total = sum(actions.values())
    of_these = _listed(
        words.format(f"{actions[action]:,}")
        for action, words in (
            ("correct", "{} to correct"),
            ("teach", "{} to teach"),
            ("carry", "{} kept from the release before"),
        )
        if actions.get(action)
    )
    held = _by_words(counts.get("held", {}), waits)
    refusals = _by_words(counts.get("refusals", {}), refused)
    removed, sheet = counts.get("removed", 0), counts.get("sheet", 0)
    num_held = sum(held.values())
    return _joined(
        f"planned {many(total, 'edit')}: {of_these}" if total else "planned no edits",
        _lanes(counts.get("lanes", {})),
        f"{many(removed, 'old edit')} taken out" if removed else "",
        _aside(f"{{}} {_verb(num_held, 'waits', 'wait')}", num_held, held),
        _aside("{} not edited", counts.get("refused", 0), refusals),
        f"{many(sheet, 'fact')} on the fact sheet for retrieval" if sheet else "",
    )


def _lanes(lanes: Mapping[str, int]) -> str:
    """A clause on the lanes of the plan's facts; empty where there is one."""
    kept = [f"{lanes[lane]:,} {words}" for lane, words in LANES.items() if lanes.get(lane)]
    return f"the weights are full: {_listed(kept)}" if len(kept) > 1 else ""


def edit(counts: Counts) -> str:
    """How many facts were written into the model, and how many could not be."""
    status = counts.get("status", {})
    written, failed = status.get("edited", 0), status.get("quarantined", 0)
    beside, tokens, lanes = _beside(counts), counts.get("errata", 0), counts.get("lanes", {})
    where = f"the model as {beside} beside its weights" if beside else "the model"
    where += f" as {many(tokens, 'token')} of its vocabulary" if tokens else ""
    if len(lanes) > 1:
        where = f"the model: {lanes['weights']:,} into its weights, {lanes['beside']:,} beside them"
    return _joined(
        f"wrote {many(written, 'fact')} into {where}" if written else "wrote nothing",
        f"{failed:,} could not be written" if failed else "",
    )


def _beside(counts: Counts) -> str:
    """What an edit has that no checkpoint holds, in words; empty where there is nothing."""
    return _joined(
        *(
            many(counts[kind], one, more)
            for kind, one, more in (
                ("codebook", "entry", "entries"),
                ("scoped", "scoped value", "scoped values"),
            )
            if counts.get(kind)
        )
    )


def evaluate(counts: Counts) -> str:
    """The main metrics of the edited model; the counts are metrics of `pipeline.evaluate`."""
    answers = [
        words.format(f"{counts[metric]:.0%}")
        for metric, words in (
            ("reliability", "{} of the new facts right"),
            ("chat_reliability", "{} in a chat"),
            ("generality", "{} in other words"),
            ("retention", "{} of the older facts"),
        )
        if metric in counts
    ]
    if not answers and "ES" in counts:
        answers = [f"{counts['ES']:.0%} of the new facts right by likelihood"]
    same, perplexity = counts.get("near_agreement"), counts.get("perplexity")
    return (
        _joined(
            f"the edited model gets {_listed(answers)}" if answers else "",
            "" if same is None else f"{same:.0%} of answers about other subjects are as before",
            "" if perplexity is None else f"perplexity of ordinary text {perplexity:.1f}",
        )
        or f"measured {many(len(counts), 'number')}"
    )


def gate(counts: Counts) -> str:
    """Whether the edited model may be released, and which checks it does not pass."""
    failed, warned = (_checks(counts.get(key, ())) for key in ("failed", "warnings"))
    culprits, states = len(counts.get("culprits", {})), counts.get("checks", {})
    moved = 0 if counts.get("passed") else counts.get("moved", 0)
    total = sum(states.values())
    if counts.get("passed"):
        outcome = f"passed: {states.get('pass', 0)} of {many(total, 'check')}"
        outcome = outcome if total else "passed"
    else:
        outcome = f"failed {many(len(failed), 'check')} ({', '.join(failed)})"
    return _joined(
        outcome,
        f"{many(len(warned), 'warning')} ({', '.join(warned)})" if warned else "",
        f"set aside {many(culprits, 'edit')} found to do harm" if culprits else "",
        f"the weights have no room for {many(moved, 'fact')}" if moved else "",
    )


def release(counts: Counts) -> str:
    """How many edits and facts the release has."""
    beside, sheet = _beside(counts), counts.get("fact_sheet", 0)
    key = counts.get("release_id", "")[:12]
    return _joined(
        f"published {many(counts.get('edits', 0), 'edit')}{f' as release {key}' if key else ''}",
        f"{beside} beside the weights" if beside else "",
        f"a fact sheet of {many(sheet, 'fact')} for retrieval" if sheet else "",
    )


SENTENCES: Mapping[str, Callable[[Counts], str]] = {
    "crawl": crawl,
    "snapshot": snapshot,
    "diff": diff,
    "probe": probe,
    "plan": plan,
    "edit": edit,
    "evaluate": evaluate,
    "gate": gate,
    "release": release,
}
"""Stage -> function that makes its sentence from its counts."""


def sentence(stage: str, counts: Counts, *, found: bool = False) -> str:
    """The sentence of a stage.

    found  whether the output was reused from an earlier run, which the sentence then says
    """
    return f"{'already done: ' if found else ''}{SENTENCES[stage](counts)}"


def _joined(*parts: str) -> str:
    """Clauses of a sentence; empty ones are left out."""
    return "; ".join(filter(None, parts))


def _listed(parts: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _verb(number: int, one: str, more: str) -> str:
    """The form of a verb that agrees with a number."""
    return one if number == 1 else more


def _unusable(counts: Counts) -> str:
    """A clause on what was left out of the sources, or nothing."""
    skipped = counts.get("skipped", {})
    return _aside("{} left out", sum(skipped.values()), skipped)


def _damaged(counts: Counts) -> str:
    """A clause on sources that could be read in part only, or nothing."""
    names = counts.get("damaged", [])
    if not names:
        return ""
    verb = _verb(len(names), "is", "are")
    return f"{_listed(names)} {verb} damaged, so nothing that is missing there counts as gone"


def _aside(words: str, number: int, reasons: Mapping[str, int]) -> str:
    """A number with its most frequent reason: `36 left out (35: no such date)`."""
    if not number:
        return ""
    told = words.format(f"{number:,}")
    if not reasons:
        return told
    reason, most = max(reasons.items(), key=lambda item: (item[1], item[0]))
    return f"{told} ({reason})" if most == number else f"{told} ({most:,}: {reason})"


def _by_words(numbers: Mapping[str, int], words: Callable[[str], str]) -> dict[str, int]:
    """The numbers by the words for their keys; keys with the same words are added up."""
    found: dict[str, int] = {}
    for key, number in numbers.items():
        found[words(key)] = found.get(words(key), 0) + number
    return found


def _checks(sentences: Iterable[str]) -> list[str]:
    """Names of the checks in sentences of the gate, each once; a sentence begins with the name."""
    words = [text.removeprefix("capacity: ").split(" ", 1)[0] for text in sentences]
    return list(dict.fromkeys(words))
