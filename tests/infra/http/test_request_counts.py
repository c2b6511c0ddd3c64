"""A crawl's requests are counted as the servers saw them."""

from collections import Counter

import pytest
from feed_site import serve
from loopback import SkippedTime

from infra.errors import HostError, RefusedError
from infra.http.client import PoliteClient
from infra.telemetry.metrics import REQUESTS
from infra.telemetry.tally import LocalTally


def test_each_exchange_is_one_by_host_and_status(tmp_path):
    """Redirects, pages that are not there, pages that are still the same, and each try of a host
    that is at fault; a host that does not answer has no status."""
    tally = LocalTally()
    time = SkippedTime()
    with (
        serve() as site,
        PoliteClient(
            source="s",
            contact="a@b.org",
            rate_limit=time.rate_limit(),
            clock=time.time,
            min_interval_s=0.0,
            cache=tmp_path,
            max_attempts=3,
            tally=tally,
            configured=["http://127.0.0.1:9"],
        ) as client,
    ):
        page = site.put("/page", "text")
        moved = site.put("/moved", "", 301, Location="/page")
        broken = site.put("/broken", "", 503)
        client.get(page)
        client.get(page)
        client.get(moved)
        with pytest.raises(RefusedError):
            client.get(f"{site.origin}/nowhere")
        with pytest.raises(HostError):
            client.get(broken)
        host = site.origin.removeprefix("http://")
        seen = Counter((host, str(status)) for _, status in site.asked)
        with pytest.raises(HostError):
            client.get("http://127.0.0.1:9/")
    counted = {labels: number for metric, labels, number in tally.take() if metric == REQUESTS}
    unanswered = counted.pop(("127.0.0.1:9", "none"))
    assert unanswered >= 1
    assert counted == seen
    assert {status for _, status in seen} == {"200", "304", "301", "404", "503"}
