"""Merges what a crawl found into the rows of the earlier snapshot, bucket by bucket. Pure.

The earlier rows that a crawl replaces depend on the source's coverage
(`discovery.snapshot.coverage`); all others stay. The result does not depend on the order of the
rows, nor on the number of crawls that the observations came in.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from discovery.facts.fact import ENTITY_SCHEMA, Entity
from discovery.facts.hashing import hashes_of
from discovery.facts.tables import from_table, to_table
from discovery.snapshot.coverage import Replaced
from discovery.snapshot.undecided import keep_undecided, with_unreadable

FACT_KEY = ("subject", "relation", "statement_id", "source", "unreadable")
"""Columns that identify a fact; a snapshot has one row for each key. `unreadable` says whether the
fact's value is, so that it can stand beside what could be read of the statement before."""
PART_KEY = ("id", "source", "whole")
"""Columns that identify a source's description of an entity."""
MENTION_SCHEMA = pa.schema(
    [pa.field("hash", pa.int64(), nullable=False), pa.field("source", pa.string(), nullable=False)]
)
"""Hashes of the entity ids that occur in the facts of a source (its mentions)."""


def gather_facts(
    earlier: pa.Table, found: pa.Table, replaced: Replaced, day: int | None = None
) -> pa.Table:
    """The facts of a bucket, sorted by subject, relation, statement id and source.

    A statement that was found twice gives one fact, that of the later revision. Groups of which a
    part cannot be read stay as they were (`discovery.snapshot.undecided`).

    earlier   the bucket's facts in the earlier snapshot
    found     the bucket's facts in the parsed tables
    replaced  the earlier rows to leave out
    day       day of the earlier snapshot, counted from 1970-01-01; None where there is none
    """
    found, stays = keep_undecided(
        earlier,
        _later_revisions(found, replaced.bulk),
        replaced.stays(earlier, "subject"),
        by_statement=replaced.statements,
        day=day,
    )
    versions = ("revision", "revision_time", "value", "rank")
    kept = with_unreadable(earlier.filter(stays))
    rows = _latest(kept, with_unreadable(found), FACT_KEY, versions)
    return rows.drop_columns(["unreadable"])


def gather_parts(
    earlier: pa.Table, found: pa.Table, replaced: Replaced, mentions: pa.Table
) -> pa.Table:
    """Each source's description of each entity of a bucket, as rows of `PART_SCHEMA` sorted by id.

    An entity that was not observed itself is left out once no fact of the source mentions it.

    earlier   the bucket's parts in the earlier snapshot
    found     the bucket's entities in the parsed tables
    replaced  the earlier rows to leave out
    mentions  the entities that occur in the snapshot's facts, as rows of `MENTION_SCHEMA`
    """
    kept = earlier.filter(replaced.stays(earlier, "id"))
    parts = _latest(kept, found, PART_KEY, ("revision", "num_sitelinks", "label", "redirect"))
    wanted = parts["whole"].to_numpy(zero_copy_only=False).copy()
    hashes = hashes_of(parts["id"])
    for source in pc.unique(parts["source"]).to_pylist():
        of_source = mentions.filter(pc.equal(mentions["source"], source))["hash"].to_numpy()
        mine = pc.equal(parts["source"], source).to_numpy(zero_copy_only=False)
        wanted |= mine & np.isin(hashes, of_source)
    return parts.filter(pa.array(wanted))


def merge_parts(parts: pa.Table, order: Mapping[str, int]) -> pa.Table:
    """One entity for each id, merged from the descriptions of all sources, sorted by id.

    parts  rows of `PART_SCHEMA`, sorted by id
    order  source name -> rank; the label is that of the lowest-ranked source with one
    """
    ids = parts["id"].combine_chunks()
    again = _same_as_before(ids)
    shared = again | np.append(again[1:], False)
    single = parts.filter(pa.array(~shared)).drop_columns(["whole"])
    groups: dict[str, list[tuple[bool, Entity]]] = {}
    several = parts.filter(pa.array(shared))
    entities = from_table(several.drop_columns(["whole"]), Entity)
    for entity, whole in zip(entities, several["whole"].to_pylist(), strict=True):
        groups.setdefault(entity.id, []).append((whole, entity))
    merged = to_table([_merge(group, order) for group in groups.values()], ENTITY_SCHEMA)
    return pa.concat_tables([single.cast(ENTITY_SCHEMA), merged]).sort_by("id")


def mentions_of(facts: pa.Table, observed: frozenset[str] = frozenset()) -> pa.Table:
    """The entities that occur in the facts of each source, as rows of `MENTION_SCHEMA`, sorted.

    Values that are entities count, and relations, which a source may name as entities. So do
    subjects, except for the sources in `observed`, which observe each subject itself.
    """
    entity = pc.equal(facts["value_type"], "entity")
    values = facts.filter(pc.and_(entity, pc.not_equal(facts["value"], "")))
    by_itself = pc.is_in(facts["source"], pa.array(sorted(observed), pa.string()))
    return merge_mentions(
        pa.table([hashes_of(table[column]), table["source"]], schema=MENTION_SCHEMA)
        for table, column in (
            (facts.filter(pc.invert(by_itself)), "subject"),
            (values, "value"),
            (facts.group_by(["relation", "source"]).aggregate([]), "relation"),
        )
    )


def merge_mentions(tables: Iterable[pa.Table]) -> pa.Table:
    """The mentions in several tables, sorted by hash and source, without duplicates."""
    everything = pa.concat_tables([MENTION_SCHEMA.empty_table(), *tables])
    hashes, sources = everything["hash"].to_numpy(), everything["source"].combine_chunks()
    pieces = []
    for source in sorted(pc.unique(sources).to_pylist()):
        unique = np.unique(hashes[pc.equal(sources, source).to_numpy(zero_copy_only=False)])
        pieces.append(pa.table([unique, [source] * len(unique)], schema=MENTION_SCHEMA))
    table = pa.concat_tables([MENTION_SCHEMA.empty_table(), *pieces])
    return table.take(np.argsort(table["hash"].to_numpy(), kind="stable"))


def _later_revisions(found: pa.Table, sources: frozenset[str]) -> pa.Table:
    """The facts of some sources' subjects at their latest revision only; other sources' facts are
    unchanged."""
    keep = np.full(found.num_rows, True)
    revisions = found["revision"].fill_null(-1).to_numpy()
    for source in sources:
        mine = pc.equal(found["source"], source).to_numpy(zero_copy_only=False)
        subjects = found["subject"].filter(pa.array(mine)).combine_chunks().dictionary_encode()
        which = subjects.indices.to_numpy(zero_copy_only=False)
        latest = np.full(len(subjects.dictionary), -1, np.int64)
        np.maximum.at(latest, which, revisions[mine])
        keep[mine] = revisions[mine] == latest[which]
    return found if keep.all() else found.filter(pa.array(keep))


def _latest(
    earlier: pa.Table, found: pa.Table, key: tuple[str, ...], versions: tuple[str, ...]
) -> pa.Table:
    """The rows of both tables sorted by `key`, with one row for each key.

    A row that was found now replaces an earlier one; of rows found twice, the one with the highest
    values in the columns `versions` stays.
    """
    rows = pa.concat_tables([earlier, found]).combine_chunks()
    text = [rows[name].cast(pa.string()) for name in key]
    keys = pc.binary_join_element_wise(*text, "\0").combine_chunks()  # sorts as the tuple does
    order = pc.sort_indices(keys)
    again = _same_as_before(keys.take(order))
    if again.any():
        now = pa.array(np.arange(rows.num_rows) >= earlier.num_rows)
        marks = pa.table({"key": keys, "now": now, **{name: rows[name] for name in versions}})
        by = [(name, "ascending", "at_start") for name in marks.column_names]
        order = pc.sort_indices(marks, sort_keys=by)
        again = _same_as_before(keys.take(order))
        last = ~np.append(again[1:], False)
        order = order.filter(pa.array(last))
    return rows.take(order)


def _same_as_before(keys: pa.Array) -> np.ndarray:
    """Whether each of some sorted keys equals the key before it."""
    same = np.zeros(len(keys), bool)
    if len(keys) > 1:
        same[1:] = pc.equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    return same


def _merge(parts: Iterable[tuple[bool, Entity]], order: Mapping[str, int]) -> Entity:
    """One entity, merged from the descriptions of several sources.

    Where a source observed the entity itself, the names it gave in observations of other entities
    do not count.
    """
    found = list(parts)
    whole = {entity.source for is_whole, entity in found if is_whole}
    ranked = sorted(
        (entity for is_whole, entity in found if is_whole or entity.source not in whole),
        key=lambda entity: (entity.label is None, order[entity.source]),
    )
    names = {name for e in ranked for name in (*e.aliases, *filter(None, [e.label]))}
    return replace(
        ranked[0],
        aliases=tuple(sorted(names - {ranked[0].label})),
        types=tuple(sorted({kind for e in ranked for kind in e.types})),
        num_sitelinks=max(e.num_sitelinks for e in ranked),
        revision=max((e.revision for e in ranked if e.revision is not None), default=None),
        redirect=next((e.redirect for e in ranked if e.redirect), None),
    )
