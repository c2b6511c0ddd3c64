"""On a real Ray, the metrics of a run are at the endpoint that Prometheus asks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
from feed_site import article, rss, serve
from prometheus_client.parser import text_string_to_metric_families
from test_run_telemetry import read
from worlds import job

from infra.storage.workspace import Workspace
from infra.telemetry.metrics import RAY_PREFIX
from jobs.telemetry.run_telemetry import RunTelemetry
from pipeline.flow import run_editions

VERSION = "2016.06.30"
SCRAPE_S = 30.0
"""Longest time, in seconds, for a node to serve what was reported to it."""


def scrape() -> dict[tuple[str, ...], float]:
    """Name and values of our labels but `line` -> value, at the endpoint of the only node."""
    import ray

    (node,) = ray.nodes()
    with urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics") as got:
        families = list(text_string_to_metric_families(got.read().decode()))
    ours = {"stage", "phase", "kind", "verdict", "status", "host", "number"}
    return {
        (sample.name, *(v for k, v in sorted(sample.labels.items()) if k in ours)): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(f"{RAY_PREFIX}corrigenda_")
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_endpoint_has_the_figures_of_the_records(
    world: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that workers made in other processes are those that the server saw, by host and
    status; the rest is what the file has, which is what the records say."""
    from infra.execution.ray_runner import runner_at

    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    file = tmp_path / "tiny.prom"
    with serve() as site:
        page = site.put("/a", article("Ada Lovelace works for Contoso Works."))
        feed = site.put("/feed.xml", rss({"title": "Ada", "link": page, "description": "News."}))
        source = (
            f'[[sources]]\nkind = "feed"\nname = "news"\nfeeds = ["{feed}"]\n'
            'contact = "a@b.org"\nmin_interval_s = 0.01\nrelations = ["P108"]\n'
        )
        config = world(f'{source}[telemetry]\nfile = "{file}"\n')
        with runner_at("local") as runner:
            run = job(config, tmp_path / "workspace")
            one = run.config.model_copy(update={"editions": run.config.editions[:1]})
            with RunTelemetry.of(one, run.workspace, runner) as watched:
                run_editions(
                    replace(
                        run,
                        config=one,
                        runner=runner,
                        begin=watched.begin,
                        tell=watched.tell,
                        end=watched.end,
                    )
                )
            wanted = {
                (f"{RAY_PREFIX}{name}", *labels): v for (name, *labels), v in read(file).items()
            }
            end = time.monotonic() + SCRAPE_S
            while (found := scrape()) != wanted and time.monotonic() < end:
                time.sleep(0.5)
    assert found == wanted
    seen = Counter(str(status) for _, status in site.asked)
    requests = f"{RAY_PREFIX}corrigenda_requests_total"
    assert seen and seen == {key[2]: v for key, v in found.items() if key[0] == requests}
    facts = Workspace(tmp_path / "workspace").find("snapshot", VERSION)
    assert facts is not None and found[f"{RAY_PREFIX}corrigenda_facts",] == facts.counts["facts"]
