"""Templates and the labels that are pasted into them."""

import json
import re
import time
from dataclasses import replace

import pytest
from discovery_helpers import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.facts.fact import Entity
from discovery.probe.property_labels import check_labels, with_fallbacks
from discovery.relations.fallback import templates_of
from discovery.relations.labels import clean_label
from discovery.relations.relation import Relation, fallback_relation, load_relations
from infra.errors import ConfigError
from infra.lm.normal_form import normalise

RELATIONS = load_relations()


@pytest.mark.parametrize("key", sorted(RELATIONS))
def test_span_is_the_subject_and_the_object_comes_last(key):
    """In every template the span holds exactly the label, and the prompt ends before a space."""
    relation = RELATIONS[key]
    for template in (*relation.statements, *relation.held_out, *relation.unrelated):
        prompt = relation.prompt(template, "Ada")
        start, end = prompt.subject_span
        assert prompt.text[start:end] == "Ada"
        assert prompt.text == prompt.text.strip() and "[" not in prompt.text
        assert template == prompt.text[:start] + "[X]" + prompt.text[end:] + " [Y]."
    for n in range(len(relation.statements)):
        assert relation.neutral_prompt(n) and "[" not in relation.neutral_prompt(n)
    assert relation.ask("Ada").endswith("?")


def test_held_out_paraphrases_are_never_asked_before():
    """No paraphrase that measures generality is also a statement, of any relation of that name."""
    for relation in RELATIONS.values():
        assert not set(relation.held_out) & set(relation.statements)
        assert not set(relation.unrelated) & {*relation.statements, *relation.held_out}


@pytest.mark.parametrize("key", sorted(RELATIONS))
def test_held_out_questions_are_written_for_each_relation(key):
    """Every built-in relation has two questions of its own beside the one that editors see, none of
    them made from its label, and none of them a part of a text that an editor is given."""
    relation = RELATIONS[key]
    made = templates_of(relation.label, person=relation.object_type == "person")
    held_out = relation.held_out_questions
    assert len({normalise(text) for text in (relation.question, *held_out)}) == 3
    assert not set(held_out) & {*made["held_out_questions"], made["question"]}
    given = [normalise(relation.ask("Ada"))]
    given += [normalise(relation.prompt(text, "Ada").text) for text in relation.statements]
    for question in held_out:
        asked = relation.asked(question, "Ada")
        start, end = asked.subject_span
        assert asked.text[start:end] == "Ada" and asked.text.endswith("?")
        assert not any(f" {normalise(asked.text)} " in f" {text} " for text in given)


@pytest.mark.parametrize(
    "label", ["The team that", "{0} {name}", "%s", "is", "[Y].", "a[X]b", "\\1"]
)
def test_hostile_labels_are_only_pasted(label):
    """A label that repeats the sentence, or looks like a format, is put in once, at its place."""
    relation = RELATIONS["P54"]
    prompt = relation.prompt("The team that [X] plays for is [Y].", label)
    assert prompt.text == f"The team that {label} plays for is"
    assert prompt.subject_span == (14, 14 + len(label))


def test_labels_are_cleaned():
    """Line ends, control, zero-width and bidi characters go; long labels are cut at a word."""
    assert clean_label("Ada\r\n\u2028 Love\u200blace\x00\u202e") == "Ada Lovelace"
    assert clean_label("e\u0301") == "\u00e9"
    cut = clean_label("word " * 100)
    assert len(cut) <= 120 and cut.endswith("word")
    assert len(clean_label("x" * 500)) == 120
    with pytest.raises(ValueError, match="no printable"):
        RELATIONS["P54"].prompt(RELATIONS["P54"].statements[0], "\n\u200b")


def test_a_users_relations_are_added_and_replace(tmp_path):
    """A file of relations adds its own and overrides the built-in ones, which stay as they were."""
    path = tmp_path / "relations.json"
    mine = RELATIONS["P54"].model_dump(exclude={"id"}) | {"functional": False}
    path.write_text(json.dumps({"relations": {"P54": mine, "X1": mine}}))
    merged = load_relations(path)
    assert not merged["P54"].functional and merged["X1"].id == "X1"
    assert merged["P6"] == RELATIONS["P6"] and load_relations()["P54"].functional


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"statements": ["[Y] employs [X].", "A, [X] [Y].", "B, [X] [Y]."]}, "must hold"),
        ({"statements": ["[X] is [Y]."]}, "at least 3"),
        ({"functionall": True}, "functionall"),
        ({"neutral": ["[X] [Y].", "B [Y].", "C [Y]."]}, "must not hold"),
    ],
)
def test_a_wrong_template_is_named(tmp_path, change, words):
    """A template that does not end in the object, or an unknown key, is a ConfigError that names
    it.
    """
    path = tmp_path / "relations.json"
    bad = RELATIONS["P54"].model_dump(exclude={"id"}) | change
    path.write_text(json.dumps({"relations": {"P54": bad}}))
    with pytest.raises(ConfigError, match=words) as caught:
        load_relations(path)
    assert "P54" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "label", "text"),
    [
        ("[X] is in [Y].", "association football", "Association football is in"),
        ("[X] is in [Y].", "iPhone", "iPhone is in"),
        ("[X] is in [Y].", "1. FC Köln", "1. FC Köln is in"),
        ("[X] is in [Y].", "ßeta", "ßeta is in"),
        ("The end of [X] is [Y].", "the Hague", "The end of the Hague is"),
        ("The end of the [X] is [Y].", "The Hague", "The end of The Hague is"),
        ("The end of the [X] is [Y].", "Theodore", "The end of the Theodore is"),
        ("The [X] is in [Y].", "the Alps", "The Alps is in"),
        ("[X]'s end is [Y].", "James", "James' end is"),
        ("[X]'s end is [Y].", "McDonald's", "McDonald's end is"),
        ("[X]'s end is [Y].", "Ann", "Ann's end is"),
        ("[X]'s end is [Y].", "[X]'s", "[X]'s end is"),
    ],
)
def test_a_label_becomes_part_of_the_sentence(template, label, text):
    """A capital at the start, one article, one possessive; the span is still the label's."""
    prompt = RELATIONS["P54"].prompt(template, label)
    assert prompt.text == text
    start, end = prompt.subject_span
    assert prompt.text[start:end].lower() == label.lower()


@settings(max_examples=300)
@given(st.text(max_size=40), st.sampled_from(sorted(RELATIONS)))
def test_any_label_makes_one_line_with_its_span(label, key):
    """Whatever a label is, the prompt is one line and its span holds the label, but for a first
    capital."""
    relation, cleaned = RELATIONS[key], clean_label(label)
    if not cleaned:
        return
    for template in (*relation.statements, *relation.held_out):
        prompt = relation.prompt(template, label)
        start, end = prompt.subject_span
        assert prompt.text[start + 1 : end] == cleaned[1:]
        assert prompt.text.splitlines() == [prompt.text]
        assert "  " not in prompt.text


def test_ten_megabytes_of_label_cost_what_a_line_costs():
    """A hostile length is cut before it is read."""
    started = time.perf_counter()
    assert len(clean_label("\u0301ab" * 3_500_000)) <= 120
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("A [X] is in [Y].", "fits some names only"),
        ("[X] is an [Y].", "fits some names only"),
        ("All [X]ian towns are in [Y].", "by itself"),
        ("In  [X] is [Y].", "spaces"),
        ("in [X] is [Y].", "begin with a capital"),
        ("[X] and [X] are [Y].", "once"),
        ("[Y] is in [X].", "end in"),
    ],
)
def test_a_template_that_no_label_can_complete_is_refused(statement, words):
    """Grammar of the subject's position is checked when templates are read."""
    fields = RELATIONS["P54"].model_dump()
    with pytest.raises(ValueError, match=words):
        Relation(**{**fields, "statements": (statement, *fields["statements"][1:])})


def test_a_prior_is_of_the_same_last_words():
    """A neutral form that ends in other words would not be the prior of its statement."""
    fields = RELATIONS["P54"].model_dump()
    with pytest.raises(ValueError, match="same words"):
        Relation(**{**fields, "neutral": ("The person is in [Y].", *fields["neutral"][1:])})


@pytest.mark.parametrize(
    ("label", "statement"),
    [
        ("head of government", "The head of government of [X] is [Y]."),
        ("country of origin", "The country of origin of [X] is [Y]."),
        ("has part(s)", "[X] has part [Y]."),
        ("located in the administrative territorial entity",
         "[X] is located in the administrative territorial entity [Y]."),
        ("owned by", "[X] is owned by [Y]."),
        ("shares border with", "[X] shares border with [Y]."),
        ("member of sports team", "[X] is a member of sports team [Y]."),
        ("part of", "[X] is part of [Y]."),
        ("instance of", "[X] is an instance of [Y]."),
        ("made from material", "[X] is made from material [Y]."),
        ("diplomatic relation", "The diplomatic relation of [X] is [Y]."),
        ("position played on team / speciality",
         "The position played on team / speciality of [X] is [Y]."),
        ("present in work", "[X] is present in work [Y]."),
        ("capital of", "[X] is the capital of [Y]."),
    ],
)  # fmt: skip
def test_a_relation_without_templates_is_said_by_its_label(label, statement):
    """Nouns, roles, adjectives and verbs are told apart; all templates pass the checks."""
    relation = fallback_relation("P1", label)
    assert relation.statements[0] == statement and relation.fallback
    assert not relation.functional and len(relation.held_out) >= 3


@given(st.text(max_size=60))
def test_any_label_with_a_word_makes_templates(label):
    """Brackets, question marks and line ends of a label do no harm; one without a word is
    refused."""
    try:
        relation = fallback_relation("P1", label)
    except ValueError as error:
        assert "no word" in str(error)
    else:
        assert relation.prompt(relation.statements[0], "Ann").text.count("Ann") >= 1


def test_a_users_relation_with_a_label_alone_is_said_by_it(tmp_path):
    """Functional or not is the user's word; what is missing is named."""
    path = tmp_path / "relations.json"
    mine = {"label": "mascot", "object_type": "thing", "functional": True}
    path.write_text(json.dumps({"relations": {"P822": mine}}))
    made = load_relations(path)["P822"]
    assert made.fallback and made.functional and made.statements[0] == "The mascot of [X] is [Y]."
    for bad, words in [
        ({"relations": {"P822": {"label": "mascot"}}}, "P822: object_type"),
        ({"relations": {"P822": {**mine, "label": "?!"}}}, "no word"),
        ({"relations": {"P822": "mascot"}}, "no object of settings"),
        ([], "no relations"),
    ]:
        path.write_text(json.dumps(bad))
        with pytest.raises(ConfigError, match=words):
            load_relations(path)


def test_an_id_that_means_something_else_is_refused():
    """One line with id, what was found and what was expected; an alias is as good as a label."""
    entity = Entity(id="P54", label="member of sports team", source="wikidata")
    check_labels(RELATIONS, {"P54": entity})
    renamed = replace(entity, label="sports team", aliases=("member of sports team",))
    check_labels(RELATIONS, {"P54": renamed})
    with pytest.raises(ConfigError, match=r"P54 is called 'mass' .*'member of sports team'"):
        check_labels(RELATIONS, {"P54": replace(entity, label="mass")})


def test_what_the_source_names_is_said_by_that_name():
    """Our own templates come first; what nobody has templates for is multi-valued."""
    named = {
        "P54": Entity(id="P54", label="member of sports team", source="wikidata"),
        "P822": Entity(id="P822", label="mascot", source="wikidata"),
        "P9": Entity(id="P9", label="123", source="wikidata"),
    }
    made = with_fallbacks(RELATIONS, named)
    assert made["P54"] == RELATIONS["P54"] and made["P822"].fallback and "P9" not in made
    assert not made["P822"].functional


FACTS = EXAMPLES / "data" / "templama_dated_facts.jsonl"
REAL = sorted(
    {
        row[name]
        for row in map(json.loads, FACTS.read_text().splitlines())
        for name in ("subject", "object")
    }
)


@pytest.mark.parametrize("key", sorted(RELATIONS))
def test_real_labels_make_sentences(key):
    """With real labels, all of them in one relation or another: a capital first, never two articles
    or two possessives side by side, and the span is the label's."""
    relation, place = RELATIONS[key], sorted(RELATIONS).index(key)
    assert len(REAL) > 500
    for label in REAL[place % 50 :: 50]:
        for template in (*relation.statements, *relation.held_out, "The [X] belongs to [Y]."):
            prompt = relation.prompt(template, label)
            start, end = prompt.subject_span
            assert prompt.text[start + 1 : end] == clean_label(label)[1:]
            assert not (prompt.text[0].isalpha() and prompt.text.split()[0].islower())
            assert not re.search(r"\b(the|a|an) (the|a|an) |'s's|s's ", prompt.text.lower()), label
