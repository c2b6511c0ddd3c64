"""Groups: the facts of one subject and relation from one source, and all facts of one subject from
one source."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def subject_keys(facts: pa.Table) -> pa.ChunkedArray:
    """Subject and source of each fact, as one text. `facts` has the columns of `FACT_SCHEMA`."""
    return pc.binary_join_element_wise(facts["subject"], facts["source"], "\0")


def group_keys(facts: pa.Table) -> pa.ChunkedArray:
    """The group of each fact, as one text. `facts` has the columns of `FACT_SCHEMA`."""
    names = [facts[name] for name in ("subject", "relation", "source")]
    return pc.binary_join_element_wise(*names, "\0")
