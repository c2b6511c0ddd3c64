"""A month of changes over real HTTP and server-sent events, in one go and in many, killed or not.

The month is `examples/recordings/october`: built from real dated facts (see its SOURCES.md).
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from discovery_helpers import EXAMPLES, make_crawl, put_snapshot

from discovery.crawl.output import CRAWL, SKIPS
from discovery.snapshot.output import MANIFEST
from discovery.sources.replay.server import STREAM, ReplayServer
from discovery.sources.wikibase.config import WikidataConfig
from infra.execution.runner import InProcessRunner
from infra.storage.workspace import Workspace

OCTOBER = EXAMPLES / "recordings" / "october"
QUERY = "SELECT ?item WHERE { ?item wdt:P31 wd:Q6256 }"
BEFORE, LAST = date(2022, 9, 30), date(2022, 10, 31)


def source(base, stream=True):
    return WikidataConfig(
        name="october",
        endpoint=base,
        query=QUERY,
        query_endpoint=f"{base}/sparql",
        stream=f"{base}{STREAM}" if stream else None,
        relations=("P6", "P31", "P35"),
        contact="ops@example.org",
        min_interval_s=0,
    )


def observe(root, config, as_of, previous=None):
    """Crawl and snapshot of one day; the two outputs."""
    workspace, runner, sources = Workspace(root), InProcessRunner(), (config,)
    on = {"version": str(as_of), "previous": previous}
    crawled = make_crawl(workspace, runner, sources, as_of, base_dir=EXAMPLES, **on)
    made = put_snapshot(workspace, runner, crawled, sources, as_of, **on)
    return crawled, made


def follow(root, config, days, server=None):
    """One day after the other; the crawls and the last snapshot."""
    crawls, previous = [], None
    for day in days:
        if server is not None:
            server.recording.now = f"{day + timedelta(days=1)}T00:00:00Z"
        crawled, previous = observe(root, config, day, previous)
        crawls.append(crawled)
    return crawls, previous


def identity(made):
    return made.json(MANIFEST)["snapshot_id"]


def month(step):
    """The day before the month, then every so many days to its last."""
    days = [BEFORE + timedelta(days=n) for n in range(0, (LAST - BEFORE).days, step)]
    return [*days, LAST]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The snapshot of the month's last day, crawled in one go."""
    with ReplayServer(OCTOBER) as base:
        _, made = observe(tmp_path_factory.mktemp("whole"), source(base, stream=False), LAST)
    return identity(made)


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 9])
@pytest.mark.parametrize("live", [True, False], ids=["as it happens", "afterwards"])
def test_by_the_stream_day_by_day_it_is_the_snapshot_of_one_go(tmp_path, whole, step, live):
    """Whether the days are crawled as they happen (entities then are as they are now) or from the
    end of the month (then revisions are looked up); and only what changed is fetched."""
    server = ReplayServer(OCTOBER)
    with server as base:
        crawls, made = follow(tmp_path, source(base), month(step), server if live else None)
    assert identity(made) == whole
    observed = [crawled.counts["observations"] for crawled in crawls]
    assert observed[0] > 36 and max(observed[1:]) < 36
    assert not any(about["gaps"] for c in crawls for about in c.json(CRAWL)["sources"].values())


def test_a_sweep_finds_what_the_stream_tells(tmp_path, whole):
    """Without a stream all revision numbers are looked at, and what has not changed is not
    fetched."""
    with ReplayServer(OCTOBER) as base:
        crawls, made = follow(tmp_path, source(base, stream=False), month(9))
    assert identity(made) == whole
    assert max(crawled.counts["observations"] for crawled in crawls[1:]) < 36


def test_faults_of_the_stream_and_the_server_change_nothing(tmp_path, whole):
    """The stream closes, breaks off in the middle of an event, sends events again; the server is
    too busy, answers HTML: the snapshot is the same, and what came twice is counted."""
    server = ReplayServer(OCTOBER)
    server.events_a_connection, server.breaks_off, server.repeats = 37, True, 5
    with server as base:
        config = source(base)
        _, previous = observe(tmp_path, config, BEFORE)
        server.fail(2, status=429, headers={"Retry-After": "0"})
        _, previous = observe(tmp_path, config, date(2022, 10, 20), previous)
        server.fail(1, status=503, headers={"Retry-After": "0", "Content-Type": "text/html"})
        crawled, previous = observe(tmp_path, config, LAST, previous)
    assert identity(previous) == whole
    reasons = crawled.table(SKIPS)["reason"].to_pylist()
    assert "event was delivered twice" in reasons


def test_a_silent_gap_is_recorded_and_repaired(tmp_path, whole):
    """Events older than the stream retains are passed over without a word: the gap is in the
    record, and a sweep finds what was in it."""
    server = ReplayServer(OCTOBER)
    with server as base:
        _, previous = observe(tmp_path, source(base), date(2022, 10, 10))
        server.retained_from = "2022-10-25T00:00:00Z"
        crawled, made = observe(tmp_path, source(base), LAST, previous)
    (gap,) = crawled.json(CRAWL)["sources"]["october"]["gaps"]
    assert "silent from 2022-10-1" in gap
    assert identity(made) == whole
    assert made.json(MANIFEST)["gaps"] == {"october": [gap]}


def test_what_could_not_be_read_is_asked_for_again(tmp_path, whole):
    """Though no event tells of it any more: an entity whose last answer of the month was broken."""
    server = ReplayServer(OCTOBER)
    answer, index = server.recording.answer, server.recording.entities
    last = {key: of[-1]["timestamp"] for key, of in index.items()}
    key = min(k for k, at in last.items() if "2022-10-02" < at < "2022-10-19")

    def broken(path, query):
        status, body = answer(path, query)
        hit = "claims" in query.get("props", "") and key in query["ids"].split("|")
        return status, body[: len(body) // 2] if hit or key in path else body

    with server as base:
        _, previous = observe(tmp_path, source(base), BEFORE)
        server.recording.answer = broken
        crawled, previous = observe(tmp_path, source(base), date(2022, 10, 20), previous)
        server.recording.answer = answer
        _, made = observe(tmp_path, source(base), LAST, previous)
    reasons = crawled.table(SKIPS).to_pylist()
    assert [s["sample"] for s in reasons if s["reason"] == "entity is unreadable"] == [key]
    assert identity(made) == whole


@pytest.mark.slow
def test_lag_is_waited_for(tmp_path, whole):
    """An error inside an HTTP 200 changes nothing; it costs the five seconds it asks for."""
    server = ReplayServer(OCTOBER)
    answer, refused = server.recording.answer, []

    def lagging(path, query):
        if query.get("action") == "query" and not refused:
            refused.append(path)
            return 200, b'{"error": {"code": "maxlag", "info": "Waiting for a database"}}'
        return answer(path, query)

    server.recording.answer = lagging
    with server as base:
        _, made = observe(tmp_path, source(base), LAST)
    assert refused and identity(made) == whole


def test_a_merge_and_a_deletion(tmp_path):
    """A merged entity is a redirect without facts; of a deleted one nothing stays."""
    with ReplayServer(OCTOBER) as base:
        _, before = observe(tmp_path, source(base), BEFORE)
        _, after = observe(tmp_path, source(base), LAST, before)
    index = json.loads((OCTOBER / "index.json").read_text())
    ((merged, about),) = index["redirects"].items()
    (deleted,) = index["deleted"]

    def tables(made, kind):
        return [row for path in sorted((made.path / kind).glob("*.parquet")) for row in
                made.table(f"{kind}/{path.name}").to_pylist()]  # fmt: skip

    for made, present in ((before, {deleted, merged}), (after, set())):
        subjects = {row["subject"] for row in tables(made, "facts")}
        assert subjects & {deleted, merged} == present - {deleted}  # deleted in today's API
    redirects = {e["id"]: e["redirect"] for e in tables(after, "entities") if e["redirect"]}
    assert redirects == {merged: about["to"]}


def test_other_settings_do_not_go_on_from_what_is_known(tmp_path):
    """With a relation more, everything is fetched again: what was known had not looked for it."""
    with ReplayServer(OCTOBER) as base:
        narrow = source(base).model_copy(update={"relations": ("P6",)})
        _, before = observe(tmp_path / "a", narrow, BEFORE)
        _, after = observe(tmp_path / "a", source(base), date(2022, 10, 1), before)
        _, fresh = observe(tmp_path / "b", source(base), date(2022, 10, 1))
    assert identity(after) == identity(fresh) != identity(before)


WORKER = """
import sys
from datetime import date
from pathlib import Path
from test_month import follow, identity, month, source
base, root = sys.argv[1:]
_, made = follow(Path(root), source(base), month(4))
print(identity(made))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_and_started_again(tmp_path, whole, seed):
    """A process that is killed again and again, a while after a request drawn anew, ends with
    the snapshot of one that was left alone."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    draw = random.Random(seed)
    server = ReplayServer(OCTOBER)
    with server as base:
        command = [sys.executable, "-c", WORKER, base, str(tmp_path)]
        kills = 0
        while True:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            goal = len(server.requests) + draw.randint(1, 120)
            while process.poll() is None and (kills == 4 or len(server.requests) < goal):
                time.sleep(0.002)
            if process.poll() is None:
                time.sleep(draw.random() * 0.3)
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        told, _ = process.communicate()
    assert process.returncode == 0 and told.strip() == whole
    assert kills >= 1 and not list(Path(tmp_path).glob("*/*.partial"))


LISTENER = """
import sys
from pathlib import Path
from test_month import BEFORE, LAST, observe, source
base, root = sys.argv[1:]
_, before = observe(Path(root), source(base), BEFORE)
observe(Path(root), source(base), LAST, before)
"""


def test_a_second_listener_is_refused(tmp_path):
    """While one process listens for a workspace another that begins the same crawl is refused in
    one line and asks the site for nothing; the first ends as if nothing had happened."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    server, go_on = ReplayServer(OCTOBER), threading.Event()
    events = server.events

    def slow(last_id, since):
        go_on.wait(20)
        return events(last_id, since)

    server.events = slow
    with server as base:
        command = [sys.executable, "-c", LISTENER, base, str(tmp_path)]
        first, second = None, None
        try:
            first = subprocess.Popen(command, env=environment)
            while not heard_by(server):
                time.sleep(0.01)
            second = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            while second.poll() is None and len(heard_by(server)) == 1:
                time.sleep(0.01)
            listeners = len(heard_by(server))
        finally:
            go_on.set()
        _, told = second.communicate()
        first.wait()
    assert listeners == 1
    assert second.returncode != 0 and "StageError" in told.strip().splitlines()[-1]
    assert first.returncode == 0


def heard_by(server):
    """Connections to the stream so far."""
    return [request for request in server.requests if request.path.startswith(STREAM)]
