"""Which sentences an edit is in force in: by their words, in prompts and in what is written."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from editors_helpers import propose, request
from tiny_models import make_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from benchmarks.common.counterfact import load_facts
from discovery.relations.relation import fallback_relation, load_relations
from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.scoped import ScopedValues
from editors.deltas.sentences import sentence, sentence_bounds
from editors.editor import EditorCall
from editors.external_memory.extension_based.relation_words import around_subject, relation_scope
from editors.external_memory.extension_based.scoped import Scoped, ScopedConfig, ScopedValueConfig
from editors.internals.tokens import encode_name
from editors.request import EditRequest, Wording
from infra.errors import EditError
from infra.lm.cache_rows import NO_TOKEN
from infra.lm.chat import as_chat
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.loading import load, locate
from pipeline.plan.wordings import relation_texts

TEXTS = {
    "team": (Wording("It plays for", (0, 2)), Wording("Which team does It play for?", (16, 18))),
    "work": (Wording("It works for", (0, 2)), Wording("The employer of It is", (16, 18))),
    "home": (Wording("It lives in", (0, 2)), Wording("The home of It is", (12, 14))),
}
BRADY = replace(request("Tom Brady plays for", "Tom Brady", "Paris"), relation="team")
CONFIG = ScopedConfig(
    layer=1,
    num_prefixed=0,
    chat=False,
    nearness=0.3,  # the tiny model's embeddings are random and have few dimensions
    values=ScopedValueConfig(steps=3, learning_rate=5, clamp=9),
)


WORDS = (
    "It The team that plays play for Which does works employer of is lives in home Tom Brady "
    "Neymar Paris London Navy here known He he And and No was there Jr a . ? ! , the Where"
)


@cache
def words() -> Any:
    """A tokenizer with a token a word."""
    inner = Tokenizer(
        WordLevel({word: i for i, word in enumerate(["[UNK]", *WORDS.split()])}, "[UNK]")
    )
    inner.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


@pytest.mark.parametrize(
    ("text", "around"),
    [
        ("He lives in Paris. Tom Brady works for the Navy. He is", "|works for the Navy ."),
        (
            "Paris Jr. was here and Tom Brady Jr. was there. No",
            "Paris Jr . was here and|Jr . was there .",
        ),
        ("Where is Tom Brady? In Paris", "Where is|?"),
        ("It is Tom Brady", "It is|"),
    ],
)
def test_the_sentence_around_a_name(text: str, around: str) -> None:
    """A mark ends it unless a small letter follows."""
    tokens = words().tokenize(text)
    ids = torch.tensor(words().convert_tokens_to_ids(tokens))
    start = tokens.index("Tom")
    low, high = sentence(ids, sentence_bounds(words(), len(words())), start, start + 2)
    assert f"{' '.join(tokens[low:start])}|{' '.join(tokens[start + 2 : high])}" == around


def test_sentences_of_other_scripts_turns_and_padding() -> None:
    """Marks of other scripts, the special tokens between turns, and padding end a sentence; a mark
    within the name does not."""
    bounds_V = torch.zeros(10, dtype=torch.uint8)
    bounds_V[[1, 2, 3]] = torch.tensor([1, 2, 4], dtype=torch.uint8)  # mark, line, small letter
    ids = torch.tensor([NO_TOKEN, 5, 1, 6, 7, 1, 8, 3, 1, 3, 2, 9])
    assert sentence(ids, bounds_V, 4, 7) == (3, 10)
    assert sentence(ids, bounds_V, 1, 2) == (1, 3)
    assert sentence(ids, bounds_V, 11, 12) == (11, 12)
    tokenizer = load(locate("smollm2-135m-instruct").path, dtype=torch.bfloat16, device="cpu")[1]
    bounds_V = sentence_bounds(tokenizer, len(tokenizer))
    for text in ("パリは首都です。", "Is it? ", "Yes!", "a\n"):
        ids = torch.tensor(tokenizer(text + "Tom")["input_ids"])
        assert sentence(ids, bounds_V, len(ids) - 1, len(ids))[0] == len(ids) - 1, text
    chat = as_chat(tokenizer, "Who is Tom?")
    ids = torch.tensor(tokenizer(chat.text, add_special_tokens=False)["input_ids"])
    name = encode_name(tokenizer, " Tom", (1, 4))[0]
    at = ids.tolist().index(name)
    low, high = sentence(ids, bounds_V, at, at + 1)
    assert tokenizer.decode(ids[low:high]) == "Who is Tom?"


@cache
def base() -> Base:
    return Base(make_model("llama", torch.float32), words(), "base")


def edited(item: EditRequest = BRADY, **settings: Any) -> Delta:
    """An edit with a value that changes every answer where it is in force."""
    config = replace(CONFIG, **settings)
    return propose(Scoped(config), EditorCall(base(), relations=TEXTS), [item]).delta


def logits(prompt: str) -> Tensor:
    ids = torch.tensor([base().tokenizer(prompt)["input_ids"]])
    with torch.inference_mode():
        return base().model(input_ids=ids).logits


def moved(delta: Delta, prompt: str) -> bool:
    before = logits(prompt)
    with delta.applied(base().model):
        return not torch.equal(before, logits(prompt))


@pytest.mark.parametrize(
    ("prompt", "held"),
    [
        ("Tom Brady plays for", True),
        ("Which team does Tom Brady play for?", True),
        ("The employer of Tom Brady is", False),
        ("Tom Brady lives in", False),
        ("Tom Brady lives in Paris. The team he plays for is", True),  # the next sentence
        ("Tom Brady lives in Paris. The Navy is here. He plays for the team", False),
        ("Neymar plays for", False),
        ("Tom Brady", False),  # says nothing of any relation
    ],
)
def test_a_value_is_in_force_in_sentences_about_its_relation(prompt: str, held: bool) -> None:
    """In all others the model answers bitwise as the base does."""
    assert moved(edited(), prompt) is held


def test_without_relations_or_limits_a_value_is_in_force_everywhere() -> None:
    """Where no relations are known, and where the settings say so."""
    alone = propose(Scoped(CONFIG), EditorCall(base()), [BRADY]).delta
    for delta in (alone, edited(nearness=-1.0, margin=2.0)):
        for prompt in ("The employer of Tom Brady is", "Tom Brady lives in", "Tom Brady"):
            assert moved(delta, prompt), prompt


def test_a_name_that_the_model_writes_goes_by_the_one_before() -> None:
    """Nothing stands behind it yet; the tokens come one by one, behind a cache."""
    delta = edited()
    [part] = delta.parts
    name = list(encode_name(base().tokenizer, "a Tom Brady", (2, 11)))
    for prompt, held in (
        ("Tom Brady, plays for. And", True),
        ("The employer of Tom Brady is here. And", False),
    ):
        ids = base().tokenizer(prompt)["input_ids"]
        states = []
        for change in (None, delta):
            with torch.inference_mode(), (change or Delta()).applied(base().model):
                block = base().model.get_submodule(part.target)
                seen: list[Tensor] = []
                hook = block.register_forward_hook(
                    lambda _, __, out, seen=seen: seen.append(
                        out[0] if isinstance(out, tuple) else out
                    )
                )
                cache_ = base().model(input_ids=torch.tensor([ids]), use_cache=True).past_key_values
                for token in name:
                    base().model(input_ids=torch.tensor([[token]]), past_key_values=cache_)
                hook.remove()
                states.append(seen[-1])
        # Without a value at this name, only what earlier values changed is to be seen.
        assert isinstance(part, ScopedValues)
        jump = (states[1] - states[0]).norm() / part.values[0].value_D.norm()
        assert bool(jump > 0.5) is held, prompt


def test_batches_and_files_do_not_matter(tmp_path: Any) -> None:
    """Rows of a batch, left padding and a written delta give the same; bit for bit on file."""
    delta = edited()
    delta.save(tmp_path / "delta.safetensors")
    read = Delta.load(tmp_path / "delta.safetensors")
    assert read.digest == delta.digest
    prompts = [
        "Tom Brady plays for",
        "The employer of Tom Brady is",
        "Tom Brady lives in Paris. No",
    ]
    asked = [
        Question(id=str(i), prompt=p, greedy=True, past_ends=True) for i, p in enumerate(prompts)
    ]
    answers = []
    for made in (delta, read):
        with made.applied(base().model):
            model = LanguageModel(base().model, base().tokenizer)
            answers.append([answer.greedy_ids for answer in model.ask(asked)])
            answers.append([model.ask([one])[0].greedy_ids for one in asked])
    assert answers[0] == answers[1] == answers[2] == answers[3]


def test_edits_made_apart_join_where_they_know_the_same_relations() -> None:
    """Each keeps its own sentences; other relations are refused."""
    other = replace(
        request("The employer of Neymar is", "Neymar", "London", name="2"), relation="work"
    )
    [one], [two] = edited().parts, edited(other).parts
    joined = Delta((one.join(two),))
    for prompt, held in (
        ("Tom Brady plays for", True),
        ("Tom Brady lives in", False),
        ("The employer of Neymar is", True),
        ("Neymar plays for", False),
    ):
        assert moved(joined, prompt) is held, prompt
    fewer = {key: TEXTS[key] for key in ("team", "home")}
    [third] = propose(Scoped(CONFIG), EditorCall(base(), relations=fewer), [BRADY]).delta.parts
    with pytest.raises(EditError, match="made with other relations do not join"):
        one.join(third)
    [alone] = propose(Scoped(CONFIG), EditorCall(base()), [BRADY]).delta.parts
    with pytest.raises(EditError, match="with and without relations"):
        one.join(alone)


def test_held_out_wordings_of_counterfact() -> None:
    """On real facts and the real model's embedding: prompts about an edit's relation that nobody
    has seen are told from those about another relation of the same subject.

    CounterFact's paraphrases and our held-out statements, against held-out statements of other
    relations of subjects of the same type.
    """
    model, tokenizer = load(
        locate("smollm2-135m-instruct").path, dtype=torch.bfloat16, device="cpu"
    )
    relations = load_relations()
    facts = [case for case in load_facts(400).cases if case.relation in relations][:200]
    scope, own = relation_scope(
        Base(model, tokenizer, "base"),
        relation_texts(relations),
        [[fact.request()] for fact in facts],
        nearness=ScopedConfig().nearness,
        margin=ScopedConfig().margin,
    )
    embed, chosen = model.get_input_embeddings(), random.Random(0)

    def held(text: str, subject: str, texts: tuple[int, ...]) -> bool:
        at = text.lower().rindex(subject.lower())
        encoding = tokenizer(text, return_offsets_mapping=True)
        inside = [
            i
            for i, (start, end) in enumerate(encoding["offset_mapping"])
            if start < at + len(subject) and end > at
        ]
        ids = torch.tensor(encoding["input_ids"])
        return scope.holds(embed, ids, (inside[0], inside[-1] + 1), texts)

    found: dict[str, list[bool]] = {"prompt": [], "paraphrase": [], "held out": [], "other": []}
    with torch.inference_mode():
        for fact, texts in zip(facts, own, strict=True):
            relation = relations[fact.relation]
            same_type = [
                r
                for r in relations.values()
                if r.subject_type == relation.subject_type and r.id != relation.id
            ]
            for kind, prompts in {
                "prompt": [fact.prompt],
                "paraphrase": fact.paraphrases,
                "held out": [relation.prompt(t, fact.subject).text for t in relation.held_out],
                "other": [
                    r.prompt(r.held_out[0], fact.subject).text for r in chosen.sample(same_type, 3)
                ],
            }.items():
                found[kind] += [held(text, fact.subject, texts) for text in prompts]
    share = {kind: sum(hits) / len(hits) for kind, hits in found.items()}
    assert share["prompt"] == 1
    assert share["paraphrase"] > 0.7 and share["held out"] > 0.8, share
    assert share["other"] < 0.15, share


def test_a_text_without_its_subject() -> None:
    text = Wording("The team of Tom Brady is", (12, 21))
    kept = around_subject(words(), text)
    assert words().convert_ids_to_tokens(kept) == ["The", "team", "of", "is"]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("works for", "{} works for"),
        ("works for", "Which company is the employer of {}?"),
        ("coach", "The head coach of {} is"),
        ("CEO", "The chief executive officer of {} is"),
    ],
)
def test_a_relation_of_ones_own_may_be_like_a_built_in_one(label: str, said: str) -> None:
    """A table's own word for a built-in relation does not make that another relation."""
    model, tokenizer = load(
        locate("smollm2-135m-instruct").path, dtype=torch.bfloat16, device="cpu"
    )
    own = fallback_relation(label, label)
    prompts = [own.prompt(text, "Acme") for text in own.statements]
    item = replace(
        request(prompts[0].text, "Acme", "x"),
        wordings=tuple(Wording(p.text, p.subject_span) for p in prompts[1:]),
        relation=label,
    )
    limits = {"nearness": ScopedConfig().nearness, "margin": ScopedConfig().margin}
    scope, [texts] = relation_scope(
        Base(model, tokenizer, "base"), relation_texts(load_relations()), [[item]], **limits
    )
    text = said.format("Acme")
    at = text.index("Acme")
    name = list(encode_name(tokenizer, text, (at, at + 4)))
    ids = tokenizer(text)["input_ids"]
    start = next(i for i in range(len(ids)) if ids[i : i + len(name)] == name)
    other = tokenizer("Acme was born in the city of")
    with torch.inference_mode():
        for row, first, held in ((ids, start, True), (other["input_ids"], 0, False)):
            place = first, first + len(name)
            embed = model.get_input_embeddings()
            assert scope.holds(embed, torch.tensor(row), place, texts) is held
