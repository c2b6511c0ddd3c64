"""The cut-off curves of a model as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from discovery.probe.beliefs.cutoff import Curve, iso
from infra.charts import curve


def as_page(found: Sequence[Curve], model: str) -> str:
    """The content of `cutoff.html`: one figure for each curve.

    model  name of the model, for the title
    """
    figures = [_figure(c) for c in found] or [Markup("<p>No belief is of a dated value.</p>")]
    return str(_PAGE.format(model=model, figures=Markup("\n").join(figures)))


def _figure(c: Curve) -> Markup:
    """The figure of one curve, with its caption."""
    said = f"{c.num_subjects} subjects; too few for a cut-off"
    if c.peak is not None and c.interval is not None:
        low, high = map(iso, c.interval)
        said = f"cut-off {iso(c.peak)} [{low}, {high}], {c.num_subjects} subjects"
    shown = sorted({c.days[0], c.days[len(c.days) // 2], c.days[-1]})
    drawn = curve(
        list(zip(c.days, c.shares, strict=True)),
        title=f"{c.label}: share of beliefs that hold on a day",
        description=said,
        named=[(day, iso(day)[:7]) for day in shown],
        mark=None if c.peak is None or c.interval is None else (c.peak, *c.interval),
    )
    caption = Markup("<figcaption><b>{}</b> ({}): {}</figcaption>")
    return Markup("<figure>{}{}</figure>").format(caption.format(c.label, c.relation, said), drawn)


_PAGE = Markup(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Effective cut-off of {model}</title>
<style>
:root {{ color-scheme: light dark; --ink: light-dark(#1a1a1a, #e8e8e8);
  --soft: light-dark(#595959, #a8a8a8); --rule: light-dark(#ddd, #444);
  --accent: light-dark(#0b5cad, #6ab0ff); }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem; padding: 0 1rem;
  color: var(--ink); background: light-dark(#fff, #161616); }}
figure {{ margin: 2rem 0; }}
.chart {{ display: block; width: 100%; height: auto; }}
</style></head><body>
<h1>Effective cut-off of {model}</h1>
<p>For each relation: of the subjects about which the model has a belief, the share for whom what it
believes was so on a day. The peak (dashed) is when the model's knowledge of the relation is from,
with the interval of a bootstrap over subjects.</p>
{figures}
</body></html>
"""
)
