"""The model card as a hub reads it."""

from __future__ import annotations

from typing import Any

from huggingface_hub import ModelCard
from page_helpers import inputs, report

from pipeline.release.pages.card import render_card

MANIFEST = {
    "line": "demo",
    "name": "2023.06.30",
    "parent": None,
    "as_of": "2023-06-30",
    "release_id": "1f",
    "plan_hash": "2f",
    "base": {"name": 'org/model: a "base"', "digest": "3f"},
    "page": {"file": "report.html"},
    "codebook": 0,
}


def test_a_hub_finds_the_numbers_of_the_report() -> None:
    """Parsed by huggingface_hub, the front matter has every measured number with its n, interval
    and protocol, and the base model's name whatever is in it."""
    plan = {"removed": 0, "refused": 0, "refusals": {}}
    gate = inputs().gate
    text = render_card(
        MANIFEST, license="apache-2.0", report=report(), gate=gate, plan=plan, live=[]
    )
    data: Any = ModelCard(text).data
    assert data.base_model == 'org/model: a "base"' and data.license == "apache-2.0"
    results = {result.metric_type: result for result in data.eval_results or []}
    numbers = report()["roles"]["candidate"]
    assert results.keys() == {name for name, m in numbers.items() if m["value"] is not None}
    for name, result in results.items():
        expected = {key: numbers[name][key] for key in ("n", "low", "high", "protocol")}
        given = {key: (result.metric_args or {}).get(key) for key in expected}
        assert result.metric_value == numbers[name]["value"] and given == expected, name
        assert result.verified is False and result.dataset_revision == report()["data"]["digest"]
