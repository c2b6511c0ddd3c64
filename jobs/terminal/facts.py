"""What `corrigenda why` prints: the history of facts, one sentence a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from infra.display import line
from jobs.terminal.words import ACTIONS, KINDS, TRUST, VERDICTS
from pipeline.queries.why import Row
from pipeline.release.pages.figures import LANES


def print_facts(facts: Sequence[Row], console: Console) -> None:
    """Print histories (`pipeline.queries.why.why`): a heading a fact, a paragraph a version."""
    for fact in facts:
        name = fact["label"] or fact["subject"]
        console.print(Text.assemble((line(name), "bold"), f" {line(_key(fact))}"), soft_wrap=True)
        for entry in fact["history"]:
            for said in _lines(entry):
                console.print(f"  {line(said)}", soft_wrap=True)


def _key(fact: Row) -> str:
    """Ids of subject and relation in brackets; only the relation's if the subject has no name."""
    named = fact["label"] not in (None, fact["subject"])
    return f"({fact['subject']}, {fact['relation']})" if named else f"({fact['relation']})"


def _lines(entry: Row) -> Iterator[str]:
    """The lines about one version of one fact."""
    state = "released" if entry["released"] else "not released"
    yield f"{entry['version']} ({state})"
    for change in entry.get("changes", ()):
        yield from (f"  {line}" for line in _change_lines(change))
    for row in entry.get("dropped", ()):
        yield f"  no longer waits (waited since {row['since_version']}): {row['reasons'][-1]}"
    for row in entry.get("refusals", ()):
        yield f"  not edited: {row['reason']} (rule {row['rule']}, trust {row['state']})"
    for row in entry.get("held", ()):
        yield f"  waits since {row['since_version']} ({row['state']}), change {row['id']}:"
        for rule, reason in zip(row["rules"], row["reasons"], strict=True):
            yield f"    {rule}: {reason}"
    for row in entry.get("sheet", ()):
        yield f"  on the fact sheet since {row['since']}: {row['statement']} ({row['reason']})"
    for row in entry.get("edits", ()):
        action = ACTIONS.get(row["action"], row["action"])
        yield f"  {action}: {row['prompt']!r} -> {row['target']!r} (edit {row['id']})"
        yield f"    since {row['since']}, priority {row['priority']:.3g}; {row['reason']}"
        if lane := row.get("lane"):  # plans of before have none
            yield f"    kept {LANES[lane]}"
        yield f"    {_evidence(row, row['statement'], row['revision'])}"
        if "quarantined" in row:
            yield f"    set aside: {row['quarantined']}"
    for row in entry.get("removals", ()):
        yield f"  edit {row['id']} taken out ({row['target']!r}): {row['reason']}"


def _change_lines(change: Row) -> Iterator[str]:
    """The lines about a change: its evidence, trust's judgement, and the models' answers."""
    old = ", ".join(change["old_labels"] or ()) or "(none)"
    new = change["new_label"] or change["new_value"] or "(none)"
    kind = KINDS.get(change["kind"], change["kind"])
    yield f"{kind}: {old} -> {new} (change {change['id']})"
    yield f"  because {change['reason']} (rule {change['rule']})"
    revision = change["revision_new"] or change["revision_old"]
    yield f"  {_evidence(change, change['new_statement'], revision)}"
    if change["quote"]:
        yield f"  it says: {change['quote']}"
    if taken := change.get("taken_up"):
        yield f"  taken up again, waited since {taken['since']}"
    if trust := change.get("trust"):
        yield f"  may it be acted on: {TRUST.get(trust['state'], trust['state'])}"
        for rule, reason in zip(trust["rules"], trust["reasons"], strict=True):
            yield f"    {rule}: {reason}"
    for name, who in (("verdict", "the model"), ("unedited", "the unedited model")):
        verdict = change.get(name)
        if verdict and verdict["verdict"] is None:
            yield f"  {who} was not asked: {verdict['reason']}"
        elif verdict:
            belief = VERDICTS.get(verdict["verdict"], verdict["verdict"])
            yield f"  {who} {belief} ({verdict['reason']})"
            yield f"    asked {verdict['prompt']!r}, said {verdict['answer']!r}"


def _evidence(row: Row, statement: str | None, revision: int | None) -> str:
    """Source, statement, revision, author and references of a change or an edit, in one line."""
    parts = [f"source {row['source']}"]
    parts += [f"statement {statement}"] if statement else []
    parts += [f"revision {revision}"] if revision is not None else []
    parts += [f"of {row['revision_time']}"] if row.get("revision_time") else []
    parts += [f"by {row['user']}"] if row.get("user") else []
    references = ", ".join(row["references"] or ())
    return " ".join(parts) + (f"; references: {references}" if references else "; no references")
