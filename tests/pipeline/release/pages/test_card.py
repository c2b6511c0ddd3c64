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


def test_text_and_chat_are_side_by_side_or_it_says_why_not() -> None:
    """A row has both numbers of base and release; without a template there is a sentence."""
    plan = {"removed": 0, "refused": 0, "refusals": {}}
    more: Any = {"license": None, "gate": inputs().gate, "plan": plan, "live": []}
    text = render_card(MANIFEST, report=report(), **more)
    assert "| reliability | 0.100 | 0.968 | 0.100 | 0.820 | 62 |\n| generality |" in text
    without = report()
    candidate = without["roles"]["candidate"]
    for name in [name for name in candidate if name.startswith("chat_")]:
        del candidate[name]
    without["left_out"] = {"chat": "the tokenizer has no chat template"}
    text = render_card(MANIFEST, report=without, **more)
    assert "Not measured: chat, since the tokenizer has no chat template." in text
    assert "base, chat" not in text
