"""The page of a release: what it says is in the report, and nothing in a label is markup."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from page_helpers import CONFIG, SEARCH, fact, gate_of, inputs, planned, refusal, report, share

from infra.charts import shown
from infra.drawing import COLOURS
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import CHECKS
from pipeline.release.pages.page import (
    NUM_FACTS,
    PageInputs,
    render_page,
    search_tree,
    verdict,
    weaker_than,
)

VOID = {"meta", "link"}
NOT_MEASURED = ("said", "tick", "tree")
"""Classes of elements whose digits are someone's words or an axis."""


class Reader(HTMLParser):
    """Elements and texts of a page, each text with the elements that it is in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, list[tuple[str, dict[str, str | None]]]]] = []
        self.feed(text)
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(self.tags[-1])

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((data, list(self.open)))

    def words(self, tag: str) -> str:
        """All text in elements of a name."""
        return "".join(t for t, inside in self.texts if tag in [name for name, _ in inside])

    def visible(self) -> str:
        """Text outside of anything folded away, and of the style sheet."""
        hidden = {"details", "style", "title", "desc"}
        return "".join(t for t, inside in self.texts if hidden.isdisjoint(n for n, _ in inside))


def numbers_in(value: Any) -> Iterator[float]:
    """Every number of a JSON value."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers_in(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from numbers_in(part)


def test_every_number_is_in_the_report() -> None:
    """Each measured number is one of the report's or the gate's, rounded as it says; a default
    bound is the config's; and no other text has a decimal number in it."""
    made = inputs()
    page = Reader(render_page(made))
    known = {float(n) for n in numbers_in([made.report, made.gate])}
    known |= {bound.default.bound for n, bound in GateConfig.model_fields.items() if n in CHECKS}
    checked = 0
    for text, inside in page.texts:
        tag, attributes = inside[-1] if inside else ("", {})
        given = attributes.get("value") if tag == "data" else attributes.get("data-value")
        if given is not None:
            checked += 1
            assert float(given) in known, given
            assert text == shown(int(given) if re.fullmatch(r"-?\d+", given) else float(given))
        elif not {"style", "code", "title", "desc", "h1"} & {name for name, _ in inside}:
            classes = " ".join(a.get("class") or "" for _, a in inside).split()
            if not set(NOT_MEASURED) & set(classes):
                without = re.sub(r"\d{4}\.\d\d\.\d\d", "", text)
                assert not re.search(r"\d\.\d", without) or "allowed" in text, text
    assert checked > 200


def test_the_candidates_numbers_are_all_on_the_page() -> None:
    """Value, both ends of the interval and n of every number that was measured."""
    made = inputs()
    page = Reader(render_page(made))
    told = {float(v) for tag, a in page.tags if tag == "data" and (v := a.get("value"))}
    wanted = {
        float(metric[key])
        for metric in made.report["roles"]["candidate"].values()
        for key in ("value", "low", "high", "n")
        if metric[key] is not None
    }
    assert wanted <= told


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "x" * 300,
    "\u0645\u062d\u0645\u062f \u202eevil\u202c",
    "a & b &lt;",
)


@pytest.mark.parametrize("label", HOSTILE)
def test_nothing_that_a_source_or_model_says_is_markup(label: str) -> None:
    """Wherever it comes in, it comes out as text and unchanged, set in its own direction."""
    words = ("subject", "prompt", "target", "answer", "relation", "base_answer", "before_answer")
    said = dict.fromkeys(words, label)
    found = report()
    found["relations"][label] = {"reliability": share(0.5, 9)}
    gate = {**gate_of(found, GateConfig()), "alarms": [label]}
    search = copy.deepcopy(SEARCH)
    search["probes"][0]["failed"] = [label]
    made = inputs(
        report=found,
        gate=gate,
        facts=[fact(1, **said, old=[label]), fact(2)],
        quarantined=[(planned("a", label), label)],
        refusals=[refusal(1, label)],
        search=search,
        provenance={"base": label},
        relations={"P54": label},
    )
    text = render_page(made)
    page, plain = Reader(text), Reader(render_page(inputs()))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    own = [inside[-1][1] for data, inside in page.texts if data == label]
    assert len(own) >= 8
    answers = [a for a in own if a.get("class") == "said"]
    assert len(answers) >= 6 and all(a.get("dir") == "auto" for a in answers)


def test_it_needs_nothing_but_itself() -> None:
    """No script, no address, nothing that a browser would fetch, and a policy that forbids it."""
    text = render_page(inputs())
    assert not re.search(r"https?:|url\(|@import|<script|<iframe|srcset", text)
    for tag, attributes in Reader(text).tags:
        assert not {"src", "action", "background"} & attributes.keys(), tag
        assert attributes.get("href", "data:,") == "data:,"
    assert "default-src 'none'" in text and 'name="viewport"' in text


def test_the_first_sentence_is_the_answer() -> None:
    """Counts of the facts themselves, then the gate's verdict, in every case."""
    assert verdict(inputs()).startswith("62 facts changed since 2022.06.30; 60 are right now.")
    assert "Of 10 facts from earlier releases, 9 are still right." in verdict(inputs())
    assert "Nothing else moved beyond its bounds." in verdict(inputs())
    one = inputs(parent=None, facts=[fact(1, right=True)])
    assert verdict(one).startswith("1 fact is new to the model; 1 is right now.")
    broken = report()
    broken["roles"]["candidate"]["kl"] |= {"value": 0.5, "low": 0.4, "high": 0.6}
    failed = inputs(report=broken, gate=gate_of(broken, CONFIG))
    assert [c["name"] for c in failed.gate["checks"] if c["blocks"]] == ["kl"]
    assert "bounds: KL drift in nats a token (kl)." in verdict(failed)
    many = gate_of(broken, GateConfig())
    blocking = [c["name"] for c in many["checks"] if c["blocks"]]
    said = verdict(inputs(report=broken, gate=many))
    assert len(blocking) > 4 and f"and {len(blocking) - 3} more." in said
    assert all(f"({name})" in said for name in blocking[:3])
    page = Reader(render_page(failed))
    assert "Failed" in page.visible() and "Nothing to undo" in page.visible()
    warned = report()
    warned["roles"]["candidate"]["energy"] |= {"value": 0.5, "low": 0.4, "high": 0.6}
    warns = inputs(report=warned, gate=gate_of(warned, CONFIG))
    assert "(energy)" in verdict(warns)


def test_weaker_bounds_are_marked_and_stronger_are_not() -> None:
    """Whichever way the bound goes: less asked of a share, more allowed of a drift."""
    config = GateConfig.model_validate({"ES": 0.8, "PS": 0.7, "kl": 0.3, "leak": 0.01})
    checks = {c["name"]: c for c in gate_of(report(), config)["checks"]}
    weak = {name for name, check in checks.items() if weaker_than(name, check) is not None}
    assert weak == {"ES", "kl"}
    page = render_page(inputs(gate=gate_of(report(), config)))
    assert page.count("weaker than the default,") == 2
    assert "2 of" in verdict(inputs(gate=gate_of(report(), config)))


def test_facts_are_in_the_order_of_their_weight() -> None:
    """Corrections, new facts, older ones; in each what is wrong first; beyond twenty folded away,
    and right or wrong said in words."""
    made = inputs()
    text = render_page(made)
    shown_first, folded = text.split("<details>", 1)
    rows = re.findall(r"Person (\d+) plays for", shown_first + folded.split("</details>")[0])
    kinds = [(int(n) >= 62, int(n) >= 44, int(n) % 31 != 5) for n in rows]
    assert len(rows) == 72 and kinds == sorted(kinds)
    assert shown_first.count("plays for") == NUM_FACTS
    body = shown_first + folded.split("</details>")[0]
    assert body.count("✗ wrong") == 62 + sum(not f["right"] for f in made.facts)
    assert body.count("✓ right") == 10 + sum(f["right"] for f in made.facts)


def test_curves_need_two_releases() -> None:
    """One of a first release would be a point; each of three has three."""
    assert "Over releases" not in render_page(inputs(history=()))
    page = render_page(inputs())
    assert "Over releases" in page and page.count('class="curve"') == 7
    for version in ("2021.03.31", "2022.06.30"):
        assert page.count(f">{version}</tspan>") == 7


def test_the_search_is_told_as_a_tree() -> None:
    """Every probe is below the part that it was cut from."""
    tree = search_tree(SEARCH, {"a": "Messi"})
    assert [(node["size"], len(node["parts"])) for node in tree] == [(4, 2), (4, 0)]
    half = tree[0]["parts"][0]
    assert [node["name"] for node in half["parts"]] == ["Messi", "b"]
    assert "6 parts of the batch" in render_page(inputs())


def test_text_and_chat_are_side_by_side_or_it_says_why_not() -> None:
    """Both numbers of a fact's question in one table; without a template a sentence in its place,
    and another one in the gate's section."""
    assert "As a text and in a chat" in render_page(inputs())
    without = report()
    candidate = without["roles"]["candidate"]
    for name in [name for name in candidate if name.startswith("chat_")]:
        del candidate[name]
    without["left_out"] = {"chat": "the tokenizer has no chat template"}
    page = render_page(inputs(report=without, gate=gate_of(without, CONFIG)))
    assert "As a text and in a chat" not in page
    assert page.count("chat, since the tokenizer has no chat template") == 2


def test_a_bare_release_has_a_page() -> None:
    """Nothing refused, nothing quarantined, no parent, no relation, one family: still a page."""
    found = report()
    found["roles"] = {"base": {}, "candidate": {"ES": share(1.0, 3, "pref")}}
    found |= {"differences": {}, "relations": {}, "families": ["preference"]}
    bare = PageInputs(
        version="1",
        line="x",
        parent=None,
        as_of="2026-01-01",
        report=found,
        gate=gate_of(found, GateConfig()),
        facts=[],
    )
    page = Reader(render_page(bare))
    assert "Every change that was found was planned." in page.visible()
    assert "no data" in page.visible()


def test_both_colour_schemes_can_be_read() -> None:
    """Every colour of text has a contrast of 4.5 to 1 to the paper, by day and by night (WCAG 2.1,
    section 1.4.3)."""
    css = files("pipeline.release.pages").joinpath("templates/page.css").read_text(encoding="utf-8")
    schemes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        assert colours.keys() >= COLOURS.keys(), "the charts' colours are the page's"
        paper = luminance(colours.pop("paper"))
        colours.pop("rule")
        for name, colour in colours.items():
            bright, dark = sorted((luminance(colour), paper), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, name


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
