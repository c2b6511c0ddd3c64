"""A case for each rule of the diff that one group shows, and the diff of two lists of facts."""

from dataclasses import replace

from discovery_helpers import make_fact as fact

from discovery.diff.compare import diff_facts
from discovery.facts.dates import iso_interval

T_OLD, T_NEW = iso_interval("2016-08-31").earliest, iso_interval("2023-06-30").earliest
FUNCTIONAL = {"P6": (), "P570": (), "P2044": ()}


def changes(old, new, **options):
    """The diff of facts between the two days."""
    defaults = {"old_day": T_OLD, "new_day": T_NEW, "functional": FUNCTIONAL}
    return diff_facts(old, new, **{**defaults, **options})


def outcome(old, new, **options):
    """Kinds and rules, in order."""
    return [(c.kind, c.rule) for c in changes(old, new, **options)]


A, B = fact("Q10"), fact("Q20", start="2018-05-01")
OTHER = {"relation": "P190"}
HIGH = {"relation": "P2044", "value_type": "quantity", "subject": "Q7"}
DEATH = {"relation": "P570", "value_type": "time", "subject": "Q7"}

CASES = {
    "23 a part cannot be read": (
        [A],
        [A, fact("", "odd", snaktype="unreadable", value_type="other")],
        "ignored",
        "23",
    ),
    "1 starts after it ends": ([], [fact("Q10", start="2020", end="2018")], "conflict", "1"),
    "2 two preferred at once": (
        [],
        [fact("Q10", rank="preferred"), fact("Q20", rank="preferred")],
        "conflict",
        "2",
    ),
    "2 two sources disagree": ([A], [A, fact("Q20", source="hr")], "conflict", "2"),
    "3 disputed": ([], [fact("Q10", qualifiers='[["P1310","Q9"]]')], "conflict", "3"),
    "4 only a reference": ([A], [replace(A, references=("Q9",))], "keep", "4"),
    "4 statement made again": ([A], [replace(A, statement_id="new")], "keep", "4"),
    "5 start refined": (
        [fact("Q10", start="2010")],
        [fact("Q10", start="2010-03-04")],
        "keep",
        "5",
    ),
    "5 value refined": (
        [fact("2010", "s", **DEATH)],
        [fact("2010-03-04", "s", **DEATH)],
        "keep",
        "5",
    ),
    "5 quantity refined": (
        [fact("+8848 Q11573", "s", bounds="+8840..+8860", **HIGH)],
        [fact("+8848.86 Q11573", "s", bounds="+8848.8..+8848.9", **HIGH)],
        "keep",
        "5",
    ),
    "5 bounds refined": (
        [fact("+8848 Q11573", "s", bounds="+8840..+8860", **HIGH)],
        [fact("+8848 Q11573", "s", **HIGH)],
        "keep",
        "5",
    ),
    "12 quantity beyond the bounds": (
        [fact("+8848 Q11573", "s", bounds="+8840..+8850", **HIGH)],
        [fact("+8848.86 Q11573", "s", bounds="+8845..+8851", **HIGH)],
        "replace",
        "12",
    ),
    "12 quantity of another unit": (
        [fact("+8848 Q11573", "s", bounds="+1..+9999", **HIGH)],
        [fact("+29 Q3710", "s", **HIGH)],
        "replace",
        "12",
    ),
    "12 quantity without bounds": (
        [fact("+8848 Q11573", "s", **HIGH)],
        [fact("+8849 Q11573", "s", **HIGH)],
        "replace",
        "12",
    ),
    "6 only a capital": (
        [fact("Ada lovelace", "s", value_type="string")],
        [fact("Ada Lovelace", "s", value_type="string", start="2018")],
        "ignored",
        "6",
    ),
    "7 scheduled": ([], [fact("Q20", start="2024")], "ignored", "7"),
    "8 transient": ([], [fact("Q20", start="2017", end="2019")], "ignored", "8"),
    "9 historical": ([], [fact("Q20", end="2001")], "ignored", "9"),
    "9 end added, long past": (
        [fact("Q10", **OTHER)],
        [fact("Q10", end="2001", **OTHER)],
        "ignored",
        "9",
    ),
    "10 start year at the window's edge": ([A], [fact("Q20", start="2016")], "ignored", "10"),
    "10 end year at the window's end": (
        [A],
        [replace(A, end=iso_interval("2023"))],
        "ignored",
        "10",
    ),
    "11 succession": ([A], [B], "replace", "11"),
    "11 preferred added while the old stays normal": (
        [A],
        [A, replace(B, rank="preferred")],
        "replace",
        "11",
    ),
    "11 the old gains an end": ([A], [replace(A, end=iso_interval("2018-04")), B], "replace", "11"),
    "11 dated observation supersedes": (
        [fact("Q10", point="2012")],
        [fact("Q10", point="2012"), fact("Q20", point="2020")],
        "replace",
        "11",
    ),
    "12 correction": ([A], [fact("Q20")], "replace", "12"),
    "12 open date, but promoted": (
        [A],
        [A, fact("Q20", start="2016", rank="preferred")],
        "replace",
        "12",
    ),
    "13 deprecated": ([A], [replace(A, rank="deprecated")], "forget", "13"),
    "13 removed": ([A], [], "forget", "13"),
    "14 ended without successor": ([A], [replace(A, end=iso_interval("2019"))], "vacated", "14"),
    "14 none now": ([A], [fact("", "n", snaktype="novalue")], "vacated", "14"),
    "15 unknown now": ([A], [replace(A, value="", snaktype="somevalue")], "ignored", "15"),
    "17 new subject": (
        [],
        [fact("2019-05", "s", relation="P571", value_type="time")],
        "learn",
        "17",
    ),
    "18 added to an empty group": ([], [B], "learn", "18"),
    "18 year that is only known after the earlier snapshot": (
        [],
        [fact("Q20", point="2016")],
        "learn",
        "18",
    ),
    "20 died": ([], [fact("2019-03-02", **DEATH)], "learn", "20"),
    "20 death before the window": ([], [fact("2001-03-02", **DEATH)], "ignored", "20"),
    "21 holds": ([A], [A], "keep", "21"),
    "21 recorded late": ([], [fact("Q10", start="2010")], "keep", "21"),
    "22 undated": ([], [A], "ignored", "22"),
}
"""By situation: facts before, facts after, and the kind and rule of the only change."""
