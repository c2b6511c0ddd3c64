"""Templates and the labels that are pasted into them."""

import json

import pytest

from discovery.verbalise import clean_label, load_relations
from infra.errors import ConfigError

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
        ({"statements": ["[Y] employs [X].", "a [X] [Y].", "b [X] [Y]."]}, "must hold"),
        ({"statements": ["a [X] [Y]."]}, "at least 3"),
        ({"functionall": True}, "functionall"),
        ({"neutral": ["[X] [Y].", "b [Y].", "c [Y]."]}, "must not hold"),
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
