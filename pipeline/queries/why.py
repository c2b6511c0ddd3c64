"""The history of a fact: what was decided about it in each version, and on what evidence.

A question is the id or the name of a subject, or a prompt that has its name in it; a relation
narrows the question. The answer is one record a fact (subject and relation), with one entry a
version: the change that was found, how trust and the probe judged it, what the plan did with it,
and whether it was released.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from discovery.probe.output import ASSESSMENTS, CHANGES, DROPPED, TAKEN_UP, UNEDITED, VERDICTS
from infra.errors import ConfigError
from infra.lm.normal_form import normalise
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.gate.output import GATE
from pipeline.plan.fact_sheet import SHEET
from pipeline.plan.output import HELD
from pipeline.run import attempts_at, edition_of, plan_of

MAX_NAMES = 5
"""Most names suggested for a subject that is not known."""
Row = dict[str, Any]
"""JSON values by name."""


def why(workspace: Workspace, question: str, relation: str | None = None) -> list[Row]:
    """Histories of the facts that a question is about, sorted by subject and relation.

    question  id or name of a subject, or a prompt with its name; if it is the prompt of one of the
              facts, only that fact's history is returned
    relation  id of a relation; None for all

    Raises ConfigError if the workspace has no plan yet, or no change, edit or row of a fact sheet
    that the question is about.
    """
    versions = _versions(workspace)
    if not versions:
        raise ConfigError(
            f"workspace {workspace.address} has no plan yet. Run `corrigenda run --config "
            "FILE`, or give another --workspace."
        )
    subjects = _subjects(workspace, versions, question)
    facts: dict[tuple[str, str], Row] = {}
    for version in versions:
        for key, label, entry in _entries(workspace, version, subjects):
            fact = facts.setdefault(
                key, {"subject": key[0], "label": None, "relation": key[1], "history": []}
            )
            fact["label"] = fact["label"] or label
            fact["history"].append(entry)
    chosen = [facts[key] for key in sorted(facts) if relation in (None, key[1])]
    if not chosen:
        known = ", ".join(sorted({key[1] for key in facts}))
        raise ConfigError(
            f"no change of {question!r} has relation {relation!r}. There are: {known}."
        )
    asked = normalise(question)
    exact = [fact for fact in chosen if asked in _prompts(fact)]
    return exact or chosen


def _versions(workspace: Workspace) -> list[str]:
    """Versions that have a plan, in the order of their days."""
    found = []
    for version in workspace.versions("plan"):
        if edition_of(version) != version:
            continue
        world = workspace.find("snapshot", version)
        found.append((world.json("manifest.json")["as_of"] if world else "", version))
    return [version for _, version in sorted(found)]


def _subjects(workspace: Workspace, versions: Iterable[str], question: str) -> set[str]:
    """Ids of the subjects that a question is about.

    The question is looked up as an id and as a name; else the longest names that it has in it as
    whole words count. Raises ConfigError, with similar names, if there is none.
    """
    names: dict[str, set[str]] = {}
    labels: dict[str, str] = {}
    for version in versions:
        for subject, label, aliases in _named(workspace, version):
            if subject == question:
                return {subject}
            for name in filter(None, (label, *(aliases or ()))):
                names.setdefault(normalise(name), set()).add(subject)
                labels.setdefault(normalise(name), name)
    asked = normalise(question)
    if asked in names:
        return names[asked]
    held = [name for name in names if name and f" {name} " in f" {asked} "]
    if held:
        longest = max(map(len, held))
        return {s for name in held if len(name) == longest for s in names[name]}
    near = get_close_matches(asked, names, n=MAX_NAMES, cutoff=0.5)
    hint = f" Near it: {', '.join(labels[name] for name in near)}." if near else ""
    raise ConfigError(
        f"no change is about {question!r}.{hint} Give the id or the name of a subject, or a prompt "
        "that holds its name."
    )


def _named(workspace: Workspace, version: str) -> Iterator[tuple[str, str | None, list[str]]]:
    """Id, name and other names of the subjects of a version's changes, edits and fact sheet."""
    probed, planned = workspace.find("probe", version), plan_of(workspace, version)
    columns = ["subject", "subject_label", "subject_aliases"]
    tables = [(probed, CHANGES, columns), (probed, DROPPED, columns)]
    tables += [(planned, name, columns[:2]) for name in ("edits.parquet", SHEET)]
    for artifact, name, wanted in tables:
        if artifact is None:
            continue
        table = artifact.table(name, columns=wanted)
        for row in table.to_pylist():
            yield row["subject"], row["subject_label"], row.get("subject_aliases", [])


def _entries(
    workspace: Workspace, version: str, subjects: set[str]
) -> Iterator[tuple[tuple[str, str], str | None, Row]]:
    """What one version did with the facts of some subjects: (subject, relation), name, entry."""
    probed, planned = workspace.find("probe", version), plan_of(workspace, version)
    assert planned is not None
    released, outcome = workspace.find("release", version), _outcomes(workspace, version)
    entries: dict[tuple[str, str], Row] = {}
    labels: dict[tuple[str, str], str | None] = {}

    def entry(row: Row) -> Row:
        key = (row["subject"], row["relation"])
        labels[key] = labels.get(key) or row.get("subject_label")
        return entries.setdefault(key, {"version": version, "released": released is not None})

    for row in _rows(probed, CHANGES, subjects):
        entry(row).setdefault("changes", []).append(row)
    for row in _rows(probed, DROPPED, subjects):
        entry(row).setdefault("dropped", []).append(row)
    for name, file in (
        ("edits", "edits.parquet"),
        ("removals", "removals.parquet"),
        ("refusals", "refusals.parquet"),
        ("held", HELD),
        ("sheet", SHEET),
    ):
        for row in _rows(planned, file, subjects):
            if name == "edits" and row["id"] in outcome:
                row["quarantined"] = outcome[row["id"]]
            entry(row).setdefault(name, []).append(row)
    by_id = {c["id"]: c for e in entries.values() for c in e.get("changes", ())}
    for file, column in (
        (ASSESSMENTS, "trust"),
        (VERDICTS, "verdict"),
        (f"{UNEDITED}/{VERDICTS}", "unedited"),
        (TAKEN_UP, "taken_up"),
    ):
        for row in _by_change(probed, file, by_id):
            by_id[row["change_id"]][column] = row
    for key, found in entries.items():
        if set(found) > {"version", "released"}:
            yield key, labels[key], found


def _rows(artifact: Artifact | None, name: str, subjects: set[str]) -> list[Row]:
    """Rows of a table that are about the subjects."""
    if artifact is None:
        return []
    wanted = pc.field("subject").isin(pa.array(sorted(subjects), pa.string()))
    return artifact.table(name, filters=wanted).to_pylist()


def _by_change(artifact: Artifact | None, name: str, ids: Mapping[str, Any]) -> list[Row]:
    """Rows of a table that belong to the changes."""
    if artifact is None or not artifact.has(name):
        return []
    wanted = pc.field("change_id").isin(pa.array(sorted(ids), pa.string()))
    return artifact.table(name, filters=wanted).to_pylist()


def _outcomes(workspace: Workspace, version: str) -> dict[str, str]:
    """Edit id -> reason, for edits that the editor refused or the gate's search set aside."""
    found: dict[str, str] = {}
    for name in attempts_at(workspace, version):
        edited, gated = workspace.find("edit", name), workspace.find("gate", name)
        if edited is not None:
            rows = edited.table("reports.parquet").to_pylist()
            found |= {r["id"]: r["reason"] for r in rows if r["status"] == "quarantined"}
        search = gated.json(GATE)["search"] if gated is not None else None
        found |= search["culprits"] if search else {}
    return found


def _prompts(fact: Row) -> set[str]:
    """All prompts and questions about a fact in its history, in normal form."""
    entries = fact["history"]
    edits = [
        row["prompt"] for e in entries for row in (*e.get("edits", ()), *e.get("removals", ()))
    ]
    asked = [
        c["verdict"]["prompt"] for e in entries for c in e.get("changes", ()) if c.get("verdict")
    ]
    questions = [row["question"] for e in entries for row in e.get("sheet", ())]
    return {normalise(text) for text in (*edits, *asked, *questions) if text}
