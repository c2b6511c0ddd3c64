"""A wave: a large share of a source's facts that is gone at once. An edition stops before it.

A fact is gone where its source says nothing of the same subject and relation any more. Single facts
are withdrawn now and then; where most are, the copy of the source is likely cut, or its ids are
others than before, and to believe it would take correct edits out of the model.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from discovery.facts.group import group_keys
from infra.errors import SourceError


def vanished(earlier: pa.Table, facts: pa.Table) -> dict[str, tuple[int, int]]:
    """By source, how many of the earlier facts are gone, and of how many subjects they are. Sources
    of which none is gone are left out.

    earlier  the bucket's facts in the earlier snapshot
    facts    the bucket's facts in the new one
    """
    remain = pc.unique(group_keys(facts))
    gone = earlier.filter(pc.invert(pc.is_in(group_keys(earlier), remain)))
    by_source = gone.group_by("source").aggregate(
        [("subject", "count"), ("subject", "count_distinct")]
    )
    return {
        row["source"]: (row["subject_count"], row["subject_count_distinct"])
        for row in by_source.to_pylist()
    }


@dataclass(frozen=True)
class Vanished:
    """What is gone of each source, added up over the buckets of a snapshot."""

    facts: Counter[str] = field(default_factory=Counter)
    """Source -> number of its earlier facts that are gone."""
    subjects: Counter[str] = field(default_factory=Counter)
    """Source -> number of subjects that these facts are of."""

    def add(self, bucket: Mapping[str, tuple[int, int]]) -> None:
        """Add what is gone of one bucket, as `vanished` gives it."""
        for source, (num_facts, num_subjects) in bucket.items():
            self.facts[source] += num_facts
            self.subjects[source] += num_subjects

    def refuse_wave(
        self, held: Mapping[str, int], *, limit: float, approved: Collection[str]
    ) -> None:
        """Raises SourceError where more than a share of a source's facts is gone, of at least two
        subjects.

        held      source -> number of its facts in the earlier snapshot; sources that are no longer
                  configured are left out
        limit     the share, 0 to 1
        approved  sources of which a person has approved it
        """
        for source, num_held in held.items():
            num = self.facts[source]
            if source in approved or self.subjects[source] < 2 or num <= limit * num_held:
                continue
            raise SourceError(
                f"source {source}: {num:,} of its {num_held:,} facts are gone at once, more than "
                f"the share of {limit:g} that [trust] max_vanished allows. Most likely its copy is "
                "not whole, its ids are others than before, or its settings select less: put it "
                "right and run again with --replace. Where it is right, set approve = "
                f'["vanished:{source}"] under [[editions]].'
            )


def held_by_source(manifest: Mapping[str, Any], sources: Collection[str]) -> Counter[str]:
    """Number of facts of some sources in a snapshot, by its manifest."""
    held: Counter[str] = Counter()
    for name, about in manifest["files"].items():
        if name.startswith("facts/"):
            held.update({s: n for s, n in about["sources"].items() if s in sources})
    return held
