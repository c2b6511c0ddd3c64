"""How fast a dump is read: ours against qwikidata's iterator, the same file, one core each.

    taskset -c 0 python -m benchmarks.dump_speed --qwikidata VENV/bin/python

The peer's interpreter has qwikidata 0.4.2 (pip install qwikidata==0.4.2). The dumps are built: of
items of 14 KB in the mean, of the labels, aliases, links and statements recorded in
examples/recordings/wikidata, drawn for each item anew, with ids, revisions and qualifiers' years of
its own so that nothing is read twice. The wanted relations are the functional ones of
discovery/relations/en.json; a share of the items has one to three statements of them, the others
none. Ours is timed from the packed file to the parsed tables that a crawl writes, in one process,
its files written and merged; the peer from the packed file to label, values and qualifiers of
the same relations as its own objects. Seconds are the process's own, of the processor, so that a
busy machine does not count. Prints a Markdown table for benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.common.hardware import commit, machine
from discovery.crawl.bulk import PARSED, BulkRead, read_bulk
from discovery.crawl.parsed import count_parsed
from discovery.relations.relation import load_relations
from discovery.sources.wikibase.config import DumpConfig
from discovery.sources.wikibase.entities import find_entity
from infra.execution.runner import InProcessRunner
from infra.storage.stage_dir import StageDir

RECORDINGS = Path(__file__).parents[1] / "examples" / "recordings" / "wikidata"
"""Directory of the recorded items from which the dumps are made."""
AS_OF = date(2030, 1, 1)
"""Day of the crawl, after all revisions in the dumps."""
MEAN_BYTES = 14_000
"""Mean size of an item in a dump, in bytes of JSON."""
PEER = """
import sys, time
from qwikidata.entity import WikidataItem
from qwikidata.json_dump import WikidataJsonDump
path, *relations = sys.argv[1:]
started = time.process_time()
entities = found = 0
for entity in WikidataJsonDump(path):
    entities += 1
    if entity["type"] != "item":
        continue
    item = WikidataItem(entity)
    label = item.get_label()
    for relation in relations:
        for claim in item.get_claim_group(relation):
            value, qualifiers = claim.mainsnak.datavalue, claim.qualifiers
            found += 1
print(time.process_time() - started, entities, found)
"""
"""Program for the peer's interpreter. It prints CPU seconds, entities and statements found."""


def main() -> None:
    """Measure dumps with three shares of items with wanted statements, and print a table."""
    options = arguments()
    print(f"{machine()}, commit {commit()}, `{shlex.join(['python', *sys.argv])}`\n")
    wanted = tuple(key for key, relation in load_relations().items() if relation.functional)
    print(f"{options.num} items, {len(wanted)} relations, best of {options.repeat}\n")
    print("| items with facts | facts an item | reader | entities/s | MB/s | times qwikidata |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for share in (0.0, 0.2, 1.0):
            path = Path(folder) / f"share-{share}.json.gz"
            size = write_dump(path, options.num, share, wanted)
            rows = [
                (f"Corrigenda, names of {names}", *ours(path, names, wanted, options.repeat))
                for names in ("facts", "all")
            ]
            rows.append(("qwikidata", *peer(path, wanted, options)))
            pace = rows[-1][1]
            for name, seconds, facts in rows:
                speed = f"{options.num / seconds:.0f} | {size / seconds / 1e6:.0f}"
                print(
                    f"| {share:.0%} | {facts / options.num:.2f} | {name} | {speed} "
                    f"| {pace / seconds:.1f} |",
                    flush=True,
                )


def ours(path: Path, names: Any, wanted: tuple[str, ...], repeat: int) -> tuple[float, int]:
    """Read a dump with our crawl; the CPU seconds of the fastest of `repeat` readings, and the
    number of facts found.

    names   setting `names` of the dump source
    wanted  ids of the relations that are read
    """
    best, facts = float("inf"), 0
    config = DumpConfig(name="dump", path=path.name, relations=wanted, names=names)
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            options = {"out": StageDir(Path(folder)), "runner": InProcessRunner()}
            read_bulk(config, AS_OF, BulkRead(), base_dir=path.parent, **options)
            best = min(best, time.process_time() - started)
            files = list(Path(folder, PARSED).glob("*.parquet"))
            facts = int(count_parsed(files, "fact", 1).sum())
    return best, facts


def peer(path: Path, wanted: tuple[str, ...], options: argparse.Namespace) -> tuple[float, int]:
    """Read a dump with qwikidata; the CPU seconds of the fastest reading, and the number of
    statements found. Raises CalledProcessError where the peer fails."""
    best, facts = float("inf"), 0
    for _ in range(options.repeat):
        command = [options.qwikidata, "-c", PEER, str(path), *wanted]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        best, facts = min(best, float(said[0])), int(said[2])
    return best, facts


def write_dump(path: Path, num: int, share: float, wanted: tuple[str, ...]) -> int:
    """Write a dump of `num` items, and return its size in bytes before compression.

    share   share of the items that have statements of the wanted relations
    wanted  ids of these relations
    """
    rng, size = random.Random(0), 4
    recorded = list(recordings())
    pool = [s for entity in recorded for r, s in statements(entity) if r in wanted]
    with gzip.open(path, "wb", compresslevel=6) as out:
        out.write(b"[\n")
        for n in range(num):
            facts = rng.sample(pool, rng.randint(1, 3)) if rng.random() < share else []
            item = make_item(n, rng, rng.choice(recorded), facts, wanted)
            line = json.dumps(item, separators=(",", ":")).encode() + (b",\n", b"\n")[n == num - 1]
            size += len(line)
            out.write(line)
        out.write(b"]\n")
    return size


def make_item(
    n: int, rng: random.Random, entity: Any, facts: list[Any], wanted: tuple[str, ...]
) -> dict[str, Any]:
    """An item of about the mean size, with random parts of a recorded item and some statements of
    wanted relations.

    n       number of the item, from which its id is made
    entity  the recorded item
    facts   the statements of wanted relations
    wanted  ids of these relations, of which no other statement is taken
    """
    key = f"Q{1000 + n}"
    others = [s for r, s in statements(entity) if r not in wanted]
    claims: dict[str, list[Any]] = {}
    for statement in facts:
        claims.setdefault(statement["mainsnak"]["property"], []).append(statement)
    item: dict[str, Any] = {"type": "item", "id": key}
    for name, share in (("labels", 0.4), ("descriptions", 0.4), ("aliases", 0.4)):
        given = entity.get(name) or {}
        item[name] = {k: v for k, v in given.items() if k == "en" or rng.random() < share}
    item["claims"] = claims
    links = entity.get("sitelinks") or {}
    item["sitelinks"] = {k: v for k, v in links.items() if rng.random() < 0.2}
    item["lastrevid"], item["modified"] = 10**9 + n, "2020-01-01T00:00:00Z"
    target = rng.uniform(0.5, 1.5) * MEAN_BYTES
    held = len(json.dumps(item, separators=(",", ":")))
    while held < target and others:
        statement = others.pop(rng.randrange(len(others)))
        held += len(json.dumps(statement, separators=(",", ":"))) + 20
        claims.setdefault(statement["mainsnak"]["property"], []).append(statement)
    text = json.dumps(claims).replace(f"{entity['id']}$", f"{key}$")
    item["claims"] = json.loads(text.replace('"+20', f'"+{rng.randint(10, 20)}'))
    return item


def statements(entity: Any) -> Iterator[tuple[str, Any]]:
    """Each statement of an item, with the id of its relation."""
    for relation, found in entity["claims"].items():
        for statement in found:
            yield relation, statement


def recordings() -> Iterator[Any]:
    """The recorded items, as Wikidata's JSON."""
    for path in sorted(RECORDINGS.glob("Q*.json.gz")):
        entity = find_entity(
            json.loads(gzip.decompress(path.read_bytes())), path.name.split("-")[0]
        )
        assert entity is not None
        yield entity


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num", type=int, default=5000, help="items")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--qwikidata", required=True, help="interpreter that has qwikidata 0.4.2")
    return parser.parse_args()


if __name__ == "__main__":
    main()
