"""Damage to a finished workspace: every kind of file flipped, cut and removed, and every command
asked. Nothing passes unnoticed, and nothing ends in a traceback."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from feed_site import serve
from worlds import VERSIONS, job, reseal

from infra.errors import StageError
from infra.files.atomic import write_json
from infra.files.notes import write_note
from infra.http.limits.robots import Robots
from infra.http.response import Response, ResponseCache
from infra.storage.integrity import BYTES, RECORD, RECORD_DIGEST, read_record
from infra.storage.workspace import Workspace
from pipeline.edit.value_store import ValueStore
from pipeline.flow import run_editions
from pipeline.gate.output import GATE
from pipeline.lineage import Parent
from pipeline.queries.verify import Damage, verify_rest, verify_version
from pipeline.release.alias import HEAD, PRODUCTION
from pipeline.release.output import MANIFEST

"""An edition that is not made yet."""


def flipped(data: bytes) -> bytes:
    """One bit is another, in the middle."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flipped,
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "removed": lambda _: None,
}


@contextmanager
def damaged(path: Path, how: str) -> Iterator[None]:
    """A file is damaged in the block, and as it was after it."""
    data, wanted = path.read_bytes(), DAMAGE[how](path.read_bytes())
    path.unlink()  # it may have a link elsewhere
    if wanted is not None:
        path.write_bytes(wanted)
    yield
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def a_file_of_each_kind(root: Path) -> list[Path]:
    """Files of a workspace that differ in more than numbers; of the stages, of one edition."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and VERSIONS[0] not in str(p))
    kinds = {re.sub(r"\d+|[0-9a-f]{16,}", "#", str(p.relative_to(root))): p for p in files}
    return sorted(kinds.values())


@pytest.fixture()
def finished(released: tuple[Path, Path], tmp_path: Path) -> Path:
    """Workspace of two releases."""
    return Path(shutil.copytree(released[1], tmp_path / "workspace"))


def test_nothing_that_is_damaged_passes_unnoticed(finished: Path, corrigenda: Any) -> None:
    """`verify` names each file; what reads one refuses it in one line; lists name the others; and
    all is whole again once the file is."""
    turn = cycle(DAMAGE)
    others = cycle((("status",), ("releases",), ("why", "Neymar"), ("verify", "--json"), ()))
    files = a_file_of_each_kind(finished)
    assert len(files) > 60 and not damage_of(finished)
    for path in files:
        how = next(turn) if "cache" not in path.parts else "flipped"  # a cache may be emptied
        with damaged(path, how):
            wrong = damage_of(finished)
            assert any(path.is_relative_to(Path(d.path)) for d in wrong), (path, how)
            assert all(d.remedy.endswith(".") for d in wrong)
            if words := next(others):
                code, _, err = corrigenda(*words, "-w", finished)
                told = (code, err.count("\n"))
                assert told in ((0, 0), (1, words[0] != "verify")), (words, path, err)
            if path.is_relative_to(finished / "release"):
                _refused(finished, corrigenda, listed=path.name != RECORD or path.exists())
    assert not damage_of(finished)


def damage_of(root: Path) -> list[Damage]:
    """All that is not whole of the last edition, and of what belongs to none."""
    place = Workspace.at(str(root))
    last = verify_version(place, VERSIONS[1], lambda size: None)
    return [*last.damage, *verify_rest(place).damage]


def _refused(root: Path, corrigenda: Any, *, listed: bool) -> None:
    """A damaged release is not asked, not put in production and not built on; it is marked in the
    list, where it has a record, and the other one is listed."""
    for words in (("ask", "Neymar"), ("rollback", VERSIONS[1])):
        code, out, err = corrigenda(*words, "-w", root)
        assert code == 1 and not out and err.count("\n") == 1, (words, err)
    _, out, _ = corrigenda("releases", "-w", root, "--json")
    assert [bool(row["damage"]) for row in json.loads(out)] == [False, *[True] * listed]


def test_every_file_of_the_cache_counts(tmp_path: Path, corrigenda: Any) -> None:
    """What each cache writes is whole, also the rules of a site, and one file altered is named."""
    place = tmp_path / "cache" / "http"
    ResponseCache(place).save(
        Response(
            url="https://a.org/x", status=200, headers={"etag": "1"}, body=b"page", fetched_at=""
        )
    )
    Robots(place, time.time).of("https://a.org/x", lambda _: (200, b"User-agent: *\nDisallow: /y"))
    write_note(tmp_path / "cache" / "preflight" / "x.json", {"passed": True})
    ValueStore(tmp_path / "cache" / "values").update({"x": torch.ones(2)})
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) == 4 and corrigenda("verify", "-w", tmp_path)[0] == 0
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-9] + b"!" + content[-8:])
        code, out, _ = corrigenda("verify", "-w", tmp_path)
        assert code == 1 and f"{path} is cut or altered" in out
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["checkpoint/model.safetensors", "edits.parquet", "gate.json"])
def test_an_edition_does_not_build_on_a_damaged_release(finished: Path, name: str) -> None:
    """A target that was changed would be carried into every later edition."""
    workspace = Workspace.at(str(finished))
    assert Parent.of(workspace, "tiny", VERSIONS[1]).version == VERSIONS[1]
    with (
        damaged(finished / "release" / VERSIONS[1] / name, "flipped"),
        pytest.raises(StageError, match=rf"{name} is altered.*Restore it from a backup"),
    ):
        Parent.of(workspace, "tiny", VERSIONS[1])


def test_a_manifest_of_another_base_is_noticed(finished: Path) -> None:
    """Also where the record was written anew for it: the release id is made of the base."""
    place = finished / "release" / VERSIONS[1]
    manifest = json.loads((place / MANIFEST).read_text())
    manifest["base"]["digest"] = "0" * 64
    (place / MANIFEST).write_text(json.dumps(manifest))
    reseal(place)
    with pytest.raises(StageError, match="names another base"):
        Parent.of(Workspace.at(str(finished)), "tiny", VERSIONS[1])
    assert any("names another base" in damage.what for damage in damage_of(finished))


def test_what_is_not_released_is_made_anew_and_is_the_same(
    finished: Path, released: tuple[Path, Path]
) -> None:
    """A line says which output; caches that are damaged are dropped; the release is the same."""
    place = Workspace.at(str(finished))
    before = place.find("release", VERSIONS[1])
    assert before is not None
    shutil.rmtree(before.path)
    log = finished / "aliases" / "tiny" / PRODUCTION
    (log / "00000002.json").unlink()
    write_json(log / HEAD, {"seq": 1})  # as if the edition had not been released
    spoilt = ("plan", "edits.parquet"), ("edit", "delta.safetensors"), ("gate", GATE)
    for stage, name in spoilt:
        path = finished / stage / VERSIONS[1] / name
        path.write_bytes(flipped(path.read_bytes()))
    for path in (finished / "cache" / "statistics").iterdir():  # values depend on their batch
        path.write_bytes(flipped(path.read_bytes()))
    told: list[str] = []
    run_editions(job(released[0], finished, tell=told.append))
    assert [any(f"{s}/{VERSIONS[1]}/{n} is altered" in line for line in told) for s, n in spoilt]
    assert len(told) == len(spoilt)
    again = place.find("release", VERSIONS[1])
    assert again is not None and again.digest == before.digest
    verified = verify_version(place, VERSIONS[1], lambda size: None)
    assert not verified.damage and not verify_rest(place).damage


def test_what_a_web_source_leaves_in_the_cache_is_whole_until_it_is_damaged(
    world: Callable[..., Path], tmp_path: Path, corrigenda: Any
) -> None:
    """Answers and the rules of a robots.txt alike; each that is flipped, cut or emptied is named,
    and made again by the next crawl."""
    config = world()
    with serve() as site:
        site.put("/robots.txt", "User-agent: *\nDisallow: /closed\n")
        feed = site.put("/feed", "<rss version='2.0'><channel><title>t</title><item><title>News"
                        "</title><guid>1</guid><description>Ada Lovelace works for the Navy."
                        "</description></item></channel></rss>")  # fmt: skip
        config.write_text(
            config.read_text() + f'[[sources]]\nkind = "feed"\nname = "news"\nfeeds = ["{feed}"]\n'
            'relations = ["P108"]\ncontact = "a@b.org"\nmin_interval_s = 0\n'
        )
        place = tmp_path / "workspace"
        run_editions(job(config, place), until="crawl")
        assert corrigenda("verify", "-w", place)[0] == 0
        cache = sorted((place / "cache" / "http").iterdir())
        assert {path.suffix for path in cache} == {".response", ".robots"}
        for path in cache:
            for how in ("flipped", "cut", "empty"):
                with damaged(path, how):
                    code, out, _ = corrigenda("verify", "-w", place)
                    assert code == 1 and out.count("is cut or altered") == 1
                    assert str(path) in out
        for path in cache:
            path.write_bytes(flipped(path.read_bytes()))
        config.write_text(config.read_text().replace("P108", "P54"))
        run_editions(job(config, place, replace=True), until="crawl")
        assert [path for path, status in site.asked if status == 200].count("/robots.txt") == 2
        assert corrigenda("verify", "-w", place)[0] == 0


def test_a_record_of_an_earlier_version_is_read_and_said_to_have_no_digest_of_bytes(
    finished: Path, corrigenda: Any
) -> None:
    """Its contents are compared all the same: rows of Parquet, bytes of anything else."""
    for path in finished.rglob(RECORD):
        record = read_record(path.parent)
        del record[BYTES], record[RECORD_DIGEST]
        write_json(path, record)
    code, out, _ = corrigenda("verify", "-w", finished)
    assert code == 0 and "without digests of bytes" in out
    assert Parent.of(Workspace.at(str(finished)), "tiny", VERSIONS[1]).live
    edits = finished / "release" / VERSIONS[1] / "edits.parquet"
    table = pq.read_table(edits)
    wrong = pa.array(["Atlantis"] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index("target"), "target", wrong), edits)
    with pytest.raises(StageError, match=r"edits\.parquet is altered"):
        Parent.of(Workspace.at(str(finished)), "tiny", VERSIONS[1])
    code, out, _ = corrigenda("verify", VERSIONS[1], "-w", finished)
    assert code == 1 and str(edits) in out
