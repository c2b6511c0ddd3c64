"""Rows of parsed tables and of the snapshot before -> the rows of a snapshot's buckets. Pure.

What a crawl replaces of an earlier snapshot depends on the source's coverage: everything, the
subjects that it observed, or statements of the same id. Of the rest nothing changes. The result
does not depend on the order of rows, nor on how many crawls the observations came in.
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

FACT_KEY = ("subject", "relation", "statement_id", "source")
PART_KEY = ("id", "source", "whole")
MENTION_SCHEMA = pa.schema(
    [pa.field("hash", pa.int64(), nullable=False), pa.field("source", pa.string(), nullable=False)]
)
"""Hashes of the ids that the facts of a source speak of."""


def gather_facts(earlier: pa.Table, found: pa.Table, replaced: Replaced) -> pa.Table:
    """Facts sorted by subject, relation, statement and source; a statement observed twice is one
    fact, that of the later revision."""
    kept = earlier.filter(replaced.stays(earlier, "subject"))
    found = _later_revisions(found, replaced.bulk)
    return _latest(kept, found, FACT_KEY, ("revision", "revision_time", "value", "rank"))


def gather_parts(
    earlier: pa.Table, found: pa.Table, replaced: Replaced, mentions: pa.Table
) -> pa.Table:
    """What each source says of each entity, sorted by id.

    Entities that were not observed themselves stay as long as a fact of the source speaks of them.
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
    """Entities sorted by id. `order` ranks the sources: the first that has a label names it."""
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
    """What each source's facts speak of: values that are entities, and subjects, but for those of
    sources that observe them by themselves; sorted, once."""
    entity = pc.equal(facts["value_type"], "entity")
    values = facts.filter(pc.and_(entity, pc.not_equal(facts["value"], "")))
    by_itself = pc.is_in(facts["source"], pa.array(sorted(observed), pa.string()))
    return merge_mentions(
        pa.table([hashes_of(table[column]), table["source"]], schema=MENTION_SCHEMA)
        for table, column in ((facts.filter(pc.invert(by_itself)), "subject"), (values, "value"))
    )


def merge_mentions(tables: Iterable[pa.Table]) -> pa.Table:
    """Mentions of several tables, sorted by hash and source, each once."""
    everything = pa.concat_tables([MENTION_SCHEMA.empty_table(), *tables])
    hashes, sources = everything["hash"].to_numpy(), everything["source"].combine_chunks()
    pieces = []
    for source in sorted(pc.unique(sources).to_pylist()):
        unique = np.unique(hashes[pc.equal(sources, source).to_numpy(zero_copy_only=False)])
        pieces.append(pa.table([unique, [source] * len(unique)], schema=MENTION_SCHEMA))
    table = pa.concat_tables([MENTION_SCHEMA.empty_table(), *pieces])
    return table.take(np.argsort(table["hash"].to_numpy(), kind="stable"))


def _later_revisions(found: pa.Table, sources: frozenset[str]) -> pa.Table:
    """Without the facts of a subject's earlier revisions, of some sources."""
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
    """Rows of both sorted by `key`, one of each: what was found now goes before what was there,
    and of what was found twice the highest of `versions`."""
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
    """Of each of some sorted keys, whether the one before is the same."""
    same = np.zeros(len(keys), bool)
    if len(keys) > 1:
        same[1:] = pc.equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    return same


def _merge(parts: Iterable[tuple[bool, Entity]], order: Mapping[str, int]) -> Entity:
    """One entity of what several sources say. Of one source, what it says of the entity itself
    goes before what it calls it beside another."""
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
