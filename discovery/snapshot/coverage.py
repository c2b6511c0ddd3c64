"""The rows of an earlier snapshot that a crawl replaces, which depend on each source's coverage."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from discovery.crawl.output import CRAWL, OBSERVATIONS
from discovery.crawl.parsed import read_parsed
from discovery.sources import SourceConfig
from discovery.sources.observation import entry_prefix
from infra.storage.artifact import Artifact


@dataclass(frozen=True)
class Replaced:
    """The rows of an earlier snapshot that a crawl replaces.

    Rows with the key of a row that the crawl found are replaced in any case, and not listed here.
    """

    whole: frozenset[str] = frozenset()
    """Sources all of whose rows are replaced."""
    subjects: Mapping[str, pa.Array] = field(default_factory=dict)
    """Source -> ids of the subjects that were observed, including those found absent. All rows of
    these subjects are replaced."""
    statements: Mapping[str, pa.Array] = field(default_factory=dict)
    """Source -> ids of the statements that were found again. The statement may have moved to
    another subject; its earlier row is replaced."""
    entries: Mapping[str, pa.Array] = field(default_factory=dict)
    """Source -> prefixes, all of one length, of the statement ids of the entries that were
    observed. All statements with such a prefix are replaced."""
    bulk: frozenset[str] = frozenset()
    """Sources that may contain a subject twice. Only the facts of its latest revision count."""
    damaged: frozenset[str] = frozenset()
    """Sources that were read only in part, so that what is not found may still be there. Of those
    that are read as a whole, only what was found again is replaced."""
    unread: Mapping[str, pa.Array] = field(default_factory=dict)
    """Source in `whole` -> ids of subjects that were asked for and could not be read. Their rows
    stay."""
    observed: frozenset[str] = frozenset()
    """Sources that observe each subject itself (coverage `subject`). Their facts mention the
    entities that are values, not the subjects."""

    def stays(self, table: pa.Table, subject: str) -> pa.Array:
        """Whether each row of the earlier snapshot stays: booleans, one for each row.

        subject  the column of entity ids: `subject` in facts, `id` in parts
        """
        keep = pc.invert(pc.is_in(table["source"], pa.array(sorted(self.whole), pa.string())))
        for source, keys in self.unread.items():
            asked = pc.and_(pc.equal(table["source"], source), pc.is_in(table[subject], keys))
            keep = pc.or_(keep, asked)
        pairs = [(subject, self.subjects)]
        if "statement_id" in table.column_names:
            pairs.append(("statement_id", self.statements))
        for column, by_source in pairs:
            for source, keys in by_source.items():
                found = pc.is_in(table[column], keys)
                gone = pc.and_(pc.equal(table["source"], source), found)
                if column == "id":  # a name given in another entity's observation stays
                    gone = pc.and_(gone, table["whole"])
                keep = pc.and_(keep, pc.invert(gone))
        if "statement_id" not in table.column_names:
            return keep
        for source, prefixes in self.entries.items():
            length = len(prefixes[0].as_py())
            begins = pc.utf8_slice_codeunits(table["statement_id"], 0, length)
            gone = pc.and_(pc.equal(table["source"], source), pc.is_in(begins, prefixes))
            keep = pc.and_(keep, pc.invert(gone))
        return keep


def replaced_by(
    observations: Artifact,
    sources: Sequence[SourceConfig],
    before: dict[str, Any] | None,
    observed: pa.Table,
    faults: pa.Table,
    parsed: Sequence[Path],
) -> Replaced:
    """The rows of the earlier snapshot that a crawl replaces.

    They include all rows of sources that are no longer configured, and of those that are others
    than before under the same name (`other_sources`).

    observations  output of the crawl
    sources       the configured sources
    before        manifest of the earlier snapshot; None where there is none
    observed      the observed subjects (`discovery.snapshot.revisions.observed_of`)
    faults        the subjects that could not be read, likewise
    parsed        files of parsed tables
    """
    crawled = observations.json(CRAWL)["sources"]
    bulk = frozenset(name for name, about in crawled.items() if about.get("bulk"))
    own = frozenset(name for name, about in crawled.items() if about["coverage"] == "subject")
    damaged = _damaged(parsed)
    if before is None:
        return Replaced(bulk=bulk, observed=own, damaged=damaged)
    configured = {config.name for config in sources}
    others = other_sources(before, crawled)
    in_part = {config.name: config.if_damaged for config in sources if config.name in damaged}
    coverage = {name: about["coverage"] for name, about in crawled.items()}
    coverage |= {name: kind for name, kind in in_part.items() if coverage[name] == "source"}
    subjects = {
        name: observed.filter(pc.equal(observed["source"], name))["subject"].combine_chunks()
        for name, kind in coverage.items()
        if kind == "subject" and name in own
    }
    subjects |= {
        name: _found(parsed, name, "subject")
        for name, kind in coverage.items()
        if kind == "subject" and name not in own
    }
    whole = {name for name, kind in coverage.items() if kind == "source"}
    return Replaced(
        whole=frozenset(whole | others | (set(before["sources"]) - configured)),
        subjects=subjects,
        statements={
            name: _found(parsed, name, "statement_id")
            for name, kind in coverage.items()
            if kind == "statement"
        },
        entries=_entries(observations, crawled),
        bulk=bulk,
        damaged=damaged,
        unread={
            name: faults.filter(pc.equal(faults["source"], name))["subject"].combine_chunks()
            for name in others & own
        },
        observed=own,
    )


def other_sources(before: Mapping[str, Any] | None, crawled: Mapping[str, Any]) -> set[str]:
    """Names under which a crawl read another source than the snapshot before: another query,
    address or filter. Where a snapshot does not record a source's settings, its name decides.

    before   manifest of the earlier snapshot; None where there is none
    crawled  what `crawl.json` says, by source
    """
    known = before["settings"] if before else {}
    both = {name: {known.get(name), about.get("settings")} for name, about in crawled.items()}
    return {name for name, digests in both.items() if None not in digests and len(digests) > 1}


def _damaged(parsed: Sequence[Path]) -> frozenset[str]:
    """Sources in which facts of unknown subjects may be lost (`Skip.damage`)."""
    skips, _ = read_parsed(parsed, "skip")
    return frozenset(skips.filter(skips["damage"])["source"].to_pylist())


def _found(parsed: Sequence[Path], source: str, column: str) -> pa.Array:
    """The values of a column in the facts that were found of a source, each once."""
    facts, _ = read_parsed(parsed, "fact")
    return pc.unique(facts.filter(pc.equal(facts["source"], source))[column])


def _entries(observations: Artifact, crawled: dict[str, Any]) -> dict[str, pa.Array]:
    """Source -> prefixes of the statement ids of its observed entries."""
    covered = [name for name, about in crawled.items() if about["coverage"] == "entry"]
    wanted = pc.field("source").isin(pa.array(covered, pa.string())) & pc.field("absent").is_null()
    columns = ["source", "about"]
    rows = []
    if covered:
        rows = observations.table(OBSERVATIONS, columns=columns, filters=wanted).to_pylist()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["source"], []).append(entry_prefix(row["source"], row["about"]))
    return {name: pa.array(prefixes, pa.string()) for name, prefixes in found.items()}
