"""Sentences, spans, and what the two extractors make of them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from tiny_models import make_model, make_tokenizer

from discovery.extractors import EXTRACTORS
from discovery.extractors.model import NEUTRAL, ModelExtractor, score
from discovery.extractors.patterns import PatternExtractor
from discovery.extractors.sentences import sentences, spans
from discovery.extractors.triple import ExtractorConfig, is_plain
from discovery.relations.relation import load_relations
from infra.lm.language_model import LanguageModel

RELATIONS = load_relations()
MARRIED = "Ada Lovelace is married to William King."


def texts(sentence, *kinds):
    return [span.text for span in spans(sentence) if not kinds or span.kind in kinds]


def by_patterns(sentence, *relations):
    found = PatternExtractor(ExtractorConfig()).extract(
        [sentence], [RELATIONS[r] for r in relations]
    )
    return [(t.subject, t.object) for t in found]


def test_sentences_end_where_they_end():
    """Not behind initials, titles and abbreviations; at a line's end always."""
    text = (
        'Dr. J. R. Smith met Ms. Jones at St. Mary. "Who is he?" she said. He left.\n'
        "The U.S. team won in Nov. 2020. Then it rained"
    )
    assert sentences(text) == [
        "Dr. J. R. Smith met Ms. Jones at St. Mary.",
        '"Who is he?" she said.',
        "He left.",
        "The U.S. team won in Nov. 2020.",
        "Then it rained",
    ]


@settings(deadline=None)
@given(st.text(max_size=300))
def test_every_span_is_a_piece_of_the_text(text):
    """Whatever the text, spans are pieces of it, in order and not overlapping; sentences lose
    nothing but blanks."""
    said = sentences(text)
    assert "".join("".join(said).split()) == "".join(text.split())
    for sentence in said:
        found = spans(sentence)
        assert all(sentence[s.start : s.end] == s.text and s.text for s in found)
        assert all(a.end <= b.start for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("sentence", "kind", "expected"),
    [
        ("The Bank of England and Ada de Sá met.", "name", ["Bank of England", "Ada de Sá"]),
        ("In Paris, Élodie Müller-Lang sang.", "name", ["Paris", "Élodie Müller-Lang"]),
        ("He met J. R. R. Tolkien in Oxford.", "name", ["J. R. R. Tolkien", "Oxford"]),
        ("She died on 3 May 2020, or May 4, 2020.", "date", ["3 May 2020", "May 4, 2020"]),
        ("It has 3,645,000 people.", "number", ["3,645,000"]),
        ("She works as a civil engineer.", "noun", ["civil engineer"]),
    ],
)  # fmt: skip
def test_spans(sentence, kind, expected):
    """Names with their small words, dates, numbers, and nouns behind an article."""
    assert texts(sentence, kind) == expected


def test_patterns_read_statements_in_so_many_words():
    """A relation's statement is found with either article and in the past, in a clause too."""
    assert by_patterns(MARRIED, "P26") == [("Ada Lovelace", "William King")]
    assert by_patterns("The capital of France is Paris.", "P36") == [("France", "Paris")]
    assert by_patterns("It rained, and Bob Smith works for the Acme Group.", "P108") == [
        ("Bob Smith", "Acme Group")
    ]
    assert by_patterns("Ada Lovelace\u2019s spouse was William King.", "P26") == [
        ("Ada Lovelace", "William King")
    ]
    assert by_patterns(MARRIED, "P108", "P36") == []


@pytest.mark.parametrize(
    "sentence",
    [
        "The sister of Ada Lovelace is married to William King.",
        "Ada Lovelace is married to William King's brother.",
        "Ada Lovelace and her sister are married.",
        "William King, Ada Lovelace.",
        "Ada Lovelace is happily married to William King.",
    ],
)
def test_patterns_do_not_read_what_only_resembles_them(sentence):
    """A statement about a relative of either, or other words in between, is none of theirs."""
    assert by_patterns(sentence, "P26") == []


@pytest.mark.parametrize(
    ("sentence", "plain"),
    [
        (MARRIED, True),
        ("Ada Lovelace married William King in May 1835.", True),
        ("Ada Lovelace isn\u2019t married to William King.", False),
        ("Ada Lovelace may be married to William King.", False),
        ("Is Ada Lovelace married to William King?", False),
        ("Ada Lovelace was formerly married to William King.", False),
        ("Rumours say that Ada Lovelace is married to William King.", False),
        ("It is false that Ada Lovelace is married to William King.", False),
    ],
)
def test_plain_sentences(sentence, plain):
    """Denied, doubted, asked and past statements are told from plain ones; the month of May is no
    doubt."""
    assert is_plain(sentence) is plain


BEFORE = st.sampled_from(["", "The spouse of ", "The ", "It rained, and ", "The son of "])
NAME = st.sampled_from(["Ada", "Bob Smith", "Ada Lovelace", "the Bank of England", "he", ""])
BETWEEN = st.sampled_from([" is married to ", "\u2019s spouse is ", " is ", " works for ", ", "])
AFTER = st.sampled_from([". ", "'s. ", " of Bob.\n", ", and ", "-Bob. ", " "])
CLAUSES = st.lists(st.tuples(BEFORE, NAME, BETWEEN, NAME, AFTER).map("".join), max_size=4)


@settings(deadline=None)
@given(CLAUSES.map("".join))
@example("Ada is married to Bob, and Ada Lovelace works for Bob. The capital of Ada is Bob.")
def test_extractors_point(text):
    """Whatever they are shown, subject and object are pieces of the sentence that is kept."""
    extractor = PatternExtractor(ExtractorConfig())
    found = extractor.extract(sentences(text), list(RELATIONS.values()))
    event(f"{min(len(found), 3)} triples")
    for triple in found:
        assert triple.subject in triple.sentence and triple.object in triple.sentence
        assert triple.sentence in sentences(text)


# The language model


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return LanguageModel(make_model("llama", torch.float64), make_tokenizer())


def loglikelihood(model, prompt, text):
    """log p(" " + text | prompt), token by token."""
    whole = model.tokenizer(f"{prompt} {text}", return_offsets_mapping=True)
    ids = torch.tensor([whole["input_ids"]])
    with torch.inference_mode():
        logp = model.model(ids).logits[0].log_softmax(-1)
    return sum(
        logp[i - 1, ids[0, i]].item()
        for i, (_, end) in enumerate(whole["offset_mapping"])
        if end > len(prompt)
    )


def test_scores_are_what_the_equation_says(tiny):
    """Each pair's score is the gain of the relation's statements less that of the neutral one, as
    computed text by text without a cache."""
    relation = RELATIONS["P26"]
    (scores,) = score(tiny, [MARRIED], [relation])
    assert set(scores["P26"]) == {
        ("Ada Lovelace", "William King"),
        ("William King", "Ada Lovelace"),
    }
    for (x, y), got in scores["P26"].items():

        def gain(template, x=x, y=y):
            text = template.replace("[X]", x).replace("[Y]", y)
            text = text[0].lower() + text[1:] if template[0] != "[" else text
            told = loglikelihood(tiny, f"{MARRIED} In other words,", text)
            return told - loglikelihood(tiny, "In other words,", text)

        expected = np.mean([gain(t) for t in relation.statements]) - gain(NEUTRAL)
        assert got == pytest.approx(expected, abs=1e-4)


def test_sentences_do_not_depend_on_their_neighbours(tiny):
    """Scores of a sentence are the same alone and among others, and one without names has none."""
    relations = [RELATIONS["P26"], RELATIONS["P108"]]
    several = [MARRIED, "it rained", "Bob Smith works for Acme in London."]
    together = score(tiny, several, relations)
    assert together[1] == {}
    for sentence, scores in zip(several, together, strict=True):
        (alone,) = score(tiny, [sentence], relations)
        assert alone.keys() == scores.keys()
        for relation, by_pair in alone.items():
            assert by_pair == pytest.approx(scores[relation], abs=1e-4)


def test_the_margin_is_the_choice_of_none(checkpoint):
    """With no margin each relation gets its best pair, with a wide one none; a triple's score is
    above it, and the identity holds what the answer depends on."""
    chosen = {"name": "model", "model": str(checkpoint("llama")), "dtype": "float32"}
    found = {}
    for margin in (-1000.0, 1000.0):
        config = ExtractorConfig.model_validate({**chosen, "margin": margin})
        extractor = EXTRACTORS["model"](config)
        found[margin] = extractor.extract([MARRIED], [RELATIONS["P26"]])
        assert extractor.identity()["margin"] == margin
        assert len(str(extractor.identity()["digest"])) == 64
    assert found[1000.0] == []
    (triple,) = found[-1000.0]
    assert {triple.subject, triple.object} == {"Ada Lovelace", "William King"}
    assert triple.relation == "P26" and triple.sentence == MARRIED


@pytest.mark.slow
def test_the_embedded_model_tells_plain_statements_apart():
    """Of plain statements of several relations it puts the pair that is said, in its direction,
    before all others, and the relation that is said before the rest, more often than chance."""
    said = [
        ("P26", "Ada Lovelace", "William King", MARRIED),
        ("P36", "France", "Paris", "France has its capital in Paris."),
        ("P108", "Bob Smith", "Acme", "Bob Smith took a job with Acme."),
        ("P19", "Marie Curie", "Warsaw", "Marie Curie was born in Warsaw."),
        ("P54", "Lionel Messi", "Inter Miami", "Lionel Messi plays for Inter Miami."),
        ("P169", "Apple", "Tim Cook", "Apple is led by its chief executive Tim Cook."),
    ]
    relations = [RELATIONS[key] for key, *_ in said]
    extractor = ModelExtractor(ExtractorConfig(name="model", margin=-1000.0))
    triples = extractor.extract([sentence for *_, sentence in said], relations)
    pairs = firsts = 0
    for key, subject, value, sentence in said:
        mine = [t for t in triples if t.sentence == sentence]
        best = max(mine, key=lambda t: t.score)
        firsts += best.relation == key
        pairs += any((t.relation, t.subject, t.object) == (key, subject, value) for t in mine)
    assert pairs >= 5 and firsts >= 3
