"""Damaged dumps, hostile ones, and those that are none: counted losses in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dump_helpers import (
    AFTER_ALL,
    dump_config,
    dump_of,
    item,
    items,
    line_of,
    read,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.sources.blocks import read_blocks, split_lines, too_long
from discovery.sources.wikibase.dump import CUT
from discovery.sources.wikibase.names import MAX_NAME
from infra.errors import SourceError


def test_a_truncated_dump(tmp_path: Path) -> None:
    """Wherever it is cut, every line that is whole in what was written is used, give or take a
    piece, and the loss is counted."""
    rng = random.Random(0)
    noise = [line_of(item(f"Q{n}", noise=rng.randbytes(600).hex())) for n in range(1, 2001)]
    for suffix, pack, slack in ((".gz", gzip.compress, 100), (".bz2", bz2.compress, 700)):
        packed = pack(dump_of(*noise))
        for share in (0.3, 0.7, 0.999):
            (tmp_path / f"d.json{suffix}").write_bytes(packed[: int(len(packed) * share)])
            found = read(dump_config(f"d.json{suffix}"), tmp_path)
            assert found.reasons == {"the file ends in the middle: the rest is lost": 1}
            assert abs(len(found.facts) - 2000 * share) <= slack
            assert found.skips[-1].sample == f"all that follows line {len(found.facts) + 1}"
            assert [f.subject for f in found.facts] == [
                f"Q{n + 1}" for n in range(len(found.facts))
            ]


def test_a_dump_that_was_cut_before_it_was_packed(tmp_path: Path) -> None:
    """The line in the middle of which it ends is no JSON, and the missing bracket is noticed."""
    content = dump_of(*items(5))
    write(tmp_path / "d.json", content[: content.index(b'"Q4"')])
    found = read(dump_config("d.json"), tmp_path)
    assert len(found.facts) == 3
    assert found.reasons[CUT] == 1 and sum(found.reasons.values()) == 2
    assert any(reason.startswith("line is not JSON") for reason in found.reasons)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_a_damaged_dump(tmp_path: Path, suffix: str, pack: Any) -> None:
    """Bytes changed in the middle: what lies before is used, the rest is a loss that is counted,
    and nothing that was not written is read."""
    rng = random.Random(1)
    lines = [line_of(item(f"Q{n}", noise=rng.randbytes(600).hex())) for n in range(1, 3001)]
    packed = bytearray(pack(dump_of(*lines)))
    middle = len(packed) * 2 // 3
    packed[middle : middle + 40] = rng.randbytes(40)
    (tmp_path / f"d.json{suffix}").write_bytes(packed)
    found = read(dump_config(f"d.json{suffix}"), tmp_path)
    assert 1000 < len(found.facts) < 2700
    assert {fact.value for fact in found.facts} == {"Q5"}
    (damage,) = [reason for reason in found.reasons if "the rest is lost" in reason]
    assert re.match(r"the file is damaged \(.+\): the rest is lost", damage)


def test_several_members_and_padding(tmp_path: Path) -> None:
    """Packed files one after the other are one file, zeros behind them nothing; other bytes are a
    counted loss."""
    first, second = dump_of(*items(3))[:-3], b",\n" + items(4)[3] + b"\n]\n"
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress)):
        whole = pack(first) + pack(second)
        for tail, reasons in ((b"", 0), (b"\0" * 700, 0), (b"\0\0and more", 1)):
            (tmp_path / f"d.json{suffix}").write_bytes(whole + tail)
            found = read(dump_config(f"d.json{suffix}"), tmp_path)
            assert [fact.subject for fact in found.facts] == ["Q1", "Q2", "Q3", "Q4"]
            assert sum(found.reasons.values()) == reasons


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.json.gz", b"<!DOCTYPE html><html>Too many requests", "begins with '<!DOCTYPE html>"),
        ("d.json", b"\n \n<html>", "begins with '<html>"),
        ("d.json", b"", "it is empty"),
        ("d.json.gz", gzip.compress(b"", mtime=0)[:12], "ends in the middle"),
        ("d.json.gz", gzip.compress(b"\x00\x01\x02", mtime=0), "begins with"),
        ("d.json.bz2", b"BZh91AY&SY damaged", "the file is damaged"),
    ],
)
def test_a_file_that_is_no_dump(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """One line that says what it is instead."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=re.escape(said)) as caught:
        read(dump_config(name), tmp_path)
    assert "\n" not in str(caught.value) and "no Wikibase JSON dump" in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    """The path, the reason and what to do."""
    with pytest.raises(SourceError, match=r"cannot read .*d\.json\.gz: No such file.*Check `path`"):
        read(dump_config(), tmp_path)


NESTED = b'{"type":"item","id":"Q9","claims":' + b'{"P31":' * 100_000 + b"1" + b"}" * 100_001
HOSTILE = {
    "line is not UTF-8": line_of(item("Q9")).replace(b"label", b"\xff\xfe"),
    "UTF-16": line_of(item("Q9")).decode().encode("utf-16-le").replace(b"\n", b""),
    "not JSON": b'{"type":"item","id":"Q9",}',
    "not closed": line_of(item("Q9"))[:-5],
    "a number that is none": b'{"type":"item","id":"Q9","lastrevid":1e999,"claims":{}}',
    "nested": NESTED,
    "HTML": b"<html>502 Bad Gateway</html>",
    "no object": b"[1, 2]",
    "a number": b"3",
    "no id": b'{"type":"item"}',
    "id of another kind": b'{"type":"item","id":42}',
    "id that is none": b'{"type":"item","id":"Q9 DROP TABLE"}',
    "no type known": b'{"type":"sense","id":"Q9"}',
    "half a pair": b'{"type":"item","id":"Q9","labels":{"en":{"value":"\\ud800"}},"claims":{}}',
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("names", ["all", "facts"])
def test_lines_that_cannot_be_used(tmp_path: Path, line: bytes, names: Any) -> None:
    """Each is one skip with a reason and a sample; its neighbours are read. With a filter, lines
    that do not ask for a wanted relation are passed over unless they are broken from without."""
    first, second = items(2)
    write(tmp_path / "d.json.gz", dump_of(first, line, second))
    found = read(dump_config(relations=("P31",), names=names), tmp_path)
    assert [fact.subject for fact in found.facts] == ["Q1", "Q2"]
    passed = names == "facts" and line.startswith(b"{") and line.endswith(b"}")
    if not passed or b'"P31":' in line:
        assert len(found.skips) == 1 and found.skips[0].sample
        assert re.match(r"(line|entity) is", found.skips[0].reason)


STRANGE: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "null statements": ({"claims": None}, {"entity has no map of statements": 1}),
    "statements as text": ({"claims": "P31"}, {"entity has no map of statements": 1}),
    "empty list": ({"claims": []}, {}),
    "null relation": ({"claims": {"P31": None}}, {"statement is malformed": 1}),
    "null statement": ({"claims": {"P31": [None, 3]}}, {"statement is malformed": 2}),
    "relation as map": ({"claims": {"P31": {"1": 2}}}, {"statement is malformed": 1}),
    "label as text": ({"labels": {"en": "x"}, "claims": {}}, {"name is malformed": 1}),
    "labels null": ({"labels": None, "aliases": None, "claims": {}}, {}),
    "alias null": ({"aliases": {"en": [None, {"value": "x"}]}}, {"name is malformed": 1}),
    "aliases as text": ({"aliases": {"en": "xy"}, "claims": {}}, {"name is malformed": 1}),
    "revision as text": ({"lastrevid": "7", "claims": {}}, {}),
    "revision beyond": ({"lastrevid": 2**63, "claims": {}}, {}),
    "sitelinks null": ({"sitelinks": None, "modified": 3, "claims": {}}, {}),
}


@pytest.mark.parametrize(("more", "reasons"), STRANGE.values(), ids=STRANGE.keys())
def test_entities_of_strange_shapes(
    tmp_path: Path, more: dict[str, Any], reasons: dict[str, int]
) -> None:
    """What is not as it should be is counted; the rest of the entity and its neighbour are used."""
    write(tmp_path / "d.json", dump_of(line_of(item("Q1", **more)), *items(2)[1:]))
    found = read(dump_config("d.json"), tmp_path)
    assert found.reasons == reasons
    assert [entity.id for entity in found.entities] == ["Q1", "Q2"]
    assert all(entity.revision is None for entity in found.entities)
    assert found.facts[-1].subject == "Q2"


def test_names_and_values_of_hostile_size(tmp_path: Path) -> None:
    """A label of ten megabytes is no name, a value of a million characters no value; their entities
    stay."""
    huge = "x" * 10_000_000
    long_value = item("Q2")
    long_value["claims"]["P31"][0]["mainsnak"].update(
        datavalue={"value": "y" * 1_000_000, "type": "string"}, datatype="string"
    )
    many = item("Q3")
    many["claims"]["P31"][0]["mainsnak"].update(
        datavalue={"value": {"amount": "1e99999999", "unit": "1"}, "type": "quantity"}
    )
    labels = {"en": {"language": "en", "value": huge}}
    lines = [line_of(item("Q1", labels=labels)), line_of(long_value), line_of(many)]
    write(tmp_path / "d.json.gz", dump_of(*lines, *items(4)[3:]))
    found = read(dump_config(), tmp_path)
    assert [(entity.id, entity.label) for entity in found.entities] == [
        ("Q1", None),
        *((f"Q{n}", f"label of Q{n}") for n in (2, 3, 4)),
    ]
    assert [(fact.subject, fact.snaktype) for fact in found.facts] == [
        *(("Q1", "value"), ("Q2", "unreadable"), ("Q3", "unreadable"), ("Q4", "value")),
    ]
    assert found.reasons == {
        f"name is longer than {MAX_NAME} characters": 1,
        "value is longer than 10000 characters": 1,
        "amount of a quantity has too many digits": 1,
    }
    assert all(len(skip.sample) <= 200 for skip in found.skips)


def test_lines_without_an_end(tmp_path: Path) -> None:
    """A line longer than is allowed is passed over in bounded memory, wherever it lies."""
    long = b'{"type":"item","id":"Q7","x":"' + b"y" * 3_000_000 + b'"}'
    for lines in ((long, *items(2)), (items(1)[0], long, items(2)[1]), (*items(2), long)):
        write(tmp_path / "d.json.gz", dump_of(*lines))
        found = read(dump_config(max_line_bytes=1_000_000), tmp_path)
        assert [fact.subject for fact in found.facts] == ["Q1", "Q2"]
        assert found.reasons == {too_long(1_000_000): 1}
        assert found.skips[0].sample.startswith('{"type":"item","id":"Q7"')


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=30),
    ended=st.booleans(),
    piece=st.integers(1, 50),
    block=st.integers(1, 100),
    longest=st.integers(5, 60),
)
def test_blocks_are_whole_lines(
    lines: list[bytes], ended: bool, piece: int, block: int, longest: int
) -> None:
    """However the bytes come, the blocks hold the lines in order, each once, but for those that are
    too long, which are counted; and their numbers of lines add up."""
    content = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    pieces = (content[n : n + piece] for n in range(0, len(content), piece))
    made = list(
        read_blocks(pieces, "s", AFTER_ALL, block_bytes=block, max_line_bytes=longest + piece)
    )
    found = [line for one in made for line in split_lines(one.lines)]
    wanted = list(split_lines(content))
    lost = sum(len(one.skips) for one in made)
    assert len(found) == len(wanted) - lost == sum(one.num_lines for one in made)
    rest = iter(wanted)
    assert all(line in rest for line in found)
    assert [line for line in found if len(line) <= longest] == [
        line for line in wanted if len(line) <= longest
    ]
    assert [one.id for one in made] == [f"{n:07d}" for n in range(len(made))]


RSS = """
import sys
from datetime import date
from pathlib import Path
from discovery.crawl.bulk import BulkRead, read_bulk
from discovery.sources import DumpConfig
from infra.execution.runner import InProcessRunner
from infra.storage.stage_dir import StageDir
def peak():  # getrusage would give the parent's from before the exec
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
before = peak()
path, out = map(Path, sys.argv[1:])
config = DumpConfig(name="d", path=path.name, relations=("P31",))
read = BulkRead()
read_bulk(config, date(2030, 1, 1), read, out=StageDir(out), runner=InProcessRunner(),
          base_dir=path.parent)
print(peak() - before, read.num_bytes / 2**20, read.num_lines)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_dump(tmp_path: Path) -> None:
    """A dump of 210 MB, unpacked, takes little more memory than one of 35 MB; so does one line of
    105 MB."""
    filler = json.dumps("z" * 14_000).encode()
    line = b'{"type":"item","id":"Q%d","x":' + filler + b',"claims":{}},\n'
    made = {
        "small": (b"".join(line % n for n in range(1, 51)), 50),
        "large": (b"".join(line % n for n in range(1, 51)), 300),
        "long": (b"y" * 700_000, 150),
    }
    peaks = {}
    for name, (content, times) in made.items():
        begin = b"[\n"
        if name == "long":  # behind an item that can be read
            begin += b'{"type":"item","id":"Q2","claims":{}},\n{"type":"item","id":"Q1","x":"'
        packed = gzip.compress(begin, 1) + gzip.compress(content, 1) * times
        (tmp_path / f"{name}.json.gz").write_bytes(packed)
        command = [sys.executable, "-c", RSS, str(tmp_path / f"{name}.json.gz"), tmp_path / name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        peaks[name] = float(said[0])
        if name != "long":
            assert float(said[1]) > 0.65 * times and int(said[2]) == 50 * times + 1
    assert peaks["large"] < peaks["small"] + 60
    assert peaks["long"] < peaks["small"] + 70


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.bz2"])
@pytest.mark.parametrize("layout", ["lines", "indented", "one line"])
def test_a_file_that_is_known_to_be_cut_is_damaged(
    tmp_path: Path, suffix: str, share: float, layout: str
) -> None:
    """So that a crawl takes away nothing that it did not find again, in whichever layout."""
    rng = random.Random(2)
    made = [item(f"Q{n}", noise=rng.randbytes(300).hex()) for n in range(1, 301)]
    content = {
        "lines": dump_of(*map(line_of, made)),
        "indented": json.dumps(made, indent=1).encode(),
        "one line": json.dumps(made).encode(),
    }[layout]
    path = write(tmp_path / f"d{suffix}", content)
    packed = path.read_bytes()
    path.write_bytes(packed[: int(len(packed) * share)])
    try:
        found = read(dump_config(path.name), tmp_path)
    except SourceError:  # the first block of bzip2 is not whole
        assert suffix == ".json.bz2"
        return
    assert any(skip.damage for skip in found.skips)
    subjects = [fact.subject for fact in found.facts]
    assert subjects == [f"Q{n}" for n in range(1, len(subjects) + 1)] and len(subjects) < 300
    assert {fact.snaktype for fact in found.facts} == {"value"}


def test_lines_that_hide_facts_are_damage(tmp_path: Path) -> None:
    """A line that is no entity may have been one; a list without its end may go on."""
    for line in HOSTILE.values():
        write(tmp_path / "d.json", dump_of(*items(1), line))
        found = read(dump_config("d.json"), tmp_path)
        assert [skip.damage for skip in found.skips] == [True], line[:40]
    write(tmp_path / "d.json", b"[\n" + b",\n".join(items(3)) + b",\n")
    assert [skip.damage for skip in read(dump_config("d.json"), tmp_path).skips] == [True]


@pytest.mark.parametrize("content", [b"[]", b"[\n]\n", b"[\n\n]"])
def test_a_dump_without_an_entity_is_refused(tmp_path: Path, content: bytes) -> None:
    """It would take away everything that the dump before held."""
    write(tmp_path / "d.json", content)
    with pytest.raises(SourceError, match="it holds no entity"):
        read(dump_config("d.json"), tmp_path)
