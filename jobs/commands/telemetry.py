"""`corrigenda telemetry`: files by which Prometheus and Grafana look at runs."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.display import say
from infra.errors import ConfigError

DASHBOARD, RULES = "dashboard", "rules"
FORMS = (DASHBOARD, RULES)
ORIGINS = ("file", "ray")


def telemetry(
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="What to print: `dashboard`, JSON that Grafana imports, or `rules`, alerts for "
            "Prometheus.",
        ),
    ],
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where Prometheus reads the metrics: `file`, the config's [telemetry] file, or "
            "`ray`, the nodes of a Ray cluster, which put `ray_` before each name.",
        ),
    ] = "file",
    release_days: Annotated[
        float, typer.Option(min=0.0, help="Days without a release after which someone is woken.")
    ] = 8.0,
    fresh_days: Annotated[
        float,
        typer.Option(min=0.0, help="Days that production may be behind before someone is woken."),
    ] = 14.0,
    disk_share: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Free share of the disk below which someone is woken."),
    ] = 0.1,
) -> None:
    """Print a dashboard for Grafana, or alerts for Prometheus, over the metrics of runs."""
    from infra.settings import nearest
    from infra.telemetry.metrics import RAY_PREFIX
    from jobs.telemetry.alerts import Bounds, alert_rules
    from jobs.telemetry.dashboard import dashboard

    for option, given, allowed in (("--as", form, FORMS), ("--from", origin, ORIGINS)):
        if given not in allowed:
            near, known = nearest(given, allowed), " or ".join(allowed)
            raise ConfigError(f"{option} {given!r} is unknown{near}. Give {known}.")
    prefix = RAY_PREFIX if origin == "ray" else ""
    if form == DASHBOARD:
        say(dashboard(prefix).rstrip("\n"))
        return
    bounds = Bounds(release_days=release_days, fresh_days=fresh_days, disk_share=disk_share)
    say(alert_rules(bounds, prefix).rstrip("\n"))
