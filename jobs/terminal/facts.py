"""The history of facts, printed for a person: a sentence a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from pipeline.queries.why import Row, _name


def print_facts(facts: Sequence[Row], console: Console) -> None:
    """For a person: a heading a fact, a paragraph a version."""
    for fact in facts:
        console.print(f"[bold]{escape(fact['label'] or fact['subject'])}[/] {_name(fact)}")
        for entry in fact["history"]:
            for line in _lines(entry):
                console.print(f"  {escape(line)}", soft_wrap=True)


def _lines(entry: Row) -> Iterator[str]:
    """One version of one fact, a sentence a line."""
    state = "released" if entry["released"] else "not released"
    yield f"{entry['version']} ({state})"
    for change in entry.get("changes", ()):
        yield from (f"  {line}" for line in _change_lines(change))
    for row in entry.get("dropped", ()):
        yield f"  dropped: held since {row['since_version']}; {row['reasons'][-1]}"
    for row in entry.get("refusals", ()):
        yield f"  refused ({row['rule']}, {row['state']}): {row['reason']}"
    for row in entry.get("held", ()):
        yield f"  {row['state']} since {row['since_version']}, change {row['id']}:"
        for rule, reason in zip(row["rules"], row["reasons"], strict=True):
            yield f"    {rule}: {reason}"
    for row in entry.get("sheet", ()):
        yield f"  on the fact sheet since {row['since']}: {row['statement']} ({row['reason']})"
    for row in entry.get("edits", ()):
        yield f"  edit {row['id']}: {row['action']} {row['prompt']!r} -> {row['target']!r}"
        yield f"    since {row['since']}, priority {row['priority']:.3g}; {row['reason']}"
        yield f"    {_evidence(row, row['statement'], row['revision'])}"
        if "quarantined" in row:
            yield f"    quarantined: {row['quarantined']}"
    for row in entry.get("removals", ()):
        yield f"  edit {row['id']} taken out ({row['target']!r}): {row['reason']}"


def _change_lines(change: Row) -> Iterator[str]:
    """A change, what trust found and what the models said."""
    old = ", ".join(change["old_labels"] or ()) or "(none)"
    new = change["new_label"] or change["new_value"] or "(none)"
    yield f"change {change['id']}: {change['kind']} {old} -> {new}"
    yield f"  rule {change['rule']}: {change['reason']}"
    revision = change["revision_new"] or change["revision_old"]
    yield f"  {_evidence(change, change['new_statement'], revision)}"
    if change["quote"]:
        yield f"  it says: {change['quote']}"
    if taken := change.get("taken_up"):
        yield f"  taken up again, held since {taken['since']}"
    if trust := change.get("trust"):
        yield f"  trust: {trust['state']}"
        for rule, reason in zip(trust["rules"], trust["reasons"], strict=True):
            yield f"    {rule}: {reason}"
    for name, who in (("verdict", "the model"), ("unedited", "the unedited model")):
        verdict = change.get(name)
        if verdict and verdict["verdict"] is None:
            yield f"  {who} was not asked ({verdict['reason']})"
        elif verdict:
            yield f"  {who}: {verdict['verdict']} ({verdict['reason']})"
            yield f"    asked {verdict['prompt']!r}, said {verdict['answer']!r}"


def _evidence(row: Row, statement: str | None, revision: int | None) -> str:
    """Where it comes from, in one line."""
    parts = [f"source {row['source']}"]
    parts += [f"statement {statement}"] if statement else []
    parts += [f"revision {revision}"] if revision is not None else []
    parts += [f"of {row['revision_time']}"] if row.get("revision_time") else []
    parts += [f"by {row['user']}"] if row.get("user") else []
    references = ", ".join(row["references"] or ())
    return " ".join(parts) + (f"; references: {references}" if references else "; no references")
