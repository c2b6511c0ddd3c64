"""The words by which a rule of a tokenizer tells that a sentence may be about an edit's relation.

They are the words of the texts that the edit was given, and those that the model's own input
embeddings find near its relation and hardly nearer to another one. A word of more than four letters
is cut, so that it stands for its other forms too: `employe` for `employer` and `employed`.

R: relations. N: words. D: hidden size.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from editors.base import Base
from editors.deltas.relation_scope import RelationScope, unit
from editors.deltas.token_names import token_texts
from editors.external_memory.extension_based.relation_words import relation_scope
from editors.request import EditRequest, Wording
from infra.models.tokenizer.insertion import STEM_CHARS

MAX_RELATIONS = 8
"""A word in the texts of more relations than this tells of none of them, unless it is the rarest
that a text has."""
CUT = 3
"""Letters taken from the end of a word, as long as `STEM_CHARS` stay."""
_WORDS = re.compile(r"[^\W\d_]+")


def relation_stems(
    base: Base,
    relations: Mapping[str, tuple[Wording, ...]],
    edits: Sequence[Sequence[EditRequest]],
    *,
    nearness: float,
    margin: float,
) -> list[tuple[str, ...]]:
    """For each of `edits` its words, sorted: one at least stands in each text that it was given.
    None where such a text has no word, so that the edit has to be in force everywhere.

    relations  id -> texts of each relation that a prompt may be about, two at least
    edits      the requests of each subject
    nearness   least cosine of a word to the relation
    margin     how much nearer to another relation a word may be; a difference of cosines
    """
    scope, own_texts = relation_scope(base, relations, edits, nearness=-1, margin=2)
    words, vectors_ND = _vocabulary(base, scope)
    near_NT = vectors_ND @ scope.vectors_TD.T
    found_in = Counter(
        stem for texts in relations.values() for stem in {*_stems(map(_around_name, texts))}
    )
    known: dict[tuple[int, ...], frozenset[str]] = {}
    chosen = []
    for requests, own in zip(edits, own_texts, strict=True):
        if own not in known:
            mine = [t for t in own if t < scope.num_relations] or list(own)
            near_N = near_NT[:, mine].amax(dim=1)
            others = [t for t in range(scope.num_relations) if t not in own]
            other_N = near_NT[:, others].amax(dim=1)
            is_near_N = (near_N >= nearness) & (near_N >= other_N - margin)
            known[own] = frozenset(words[i] for i in is_near_N.nonzero().flatten().tolist())
        given = [_stems([_around_name(text)]) for request in requests for text in _given(request)]
        rare = (
            {s for s in stems if found_in[s] <= max(MAX_RELATIONS, min(found_in[s] for s in stems))}
            for stems in given
        )
        told = all(given)
        chosen.append(tuple(_shortest(known[own].union(*rare))) if told else ())
    return chosen


def _vocabulary(base: Base, scope: RelationScope) -> tuple[list[str], Tensor]:
    """The stems of all words that are one token of the model, and their vectors, [N, D]."""
    embedding = base.model.get_input_embeddings()
    tokens: dict[str, list[int]] = {}
    size = base.model.config.get_text_config().vocab_size
    for i, text in enumerate(token_texts(base.tokenizer, size)):
        if text[:1] == " " and len(text) > STEM_CHARS - 1 and _WORDS.fullmatch(text, 1):
            tokens.setdefault(text[1:].lower(), []).append(i)
    device = embedding.weight.device
    with torch.no_grad():
        vectors = [
            unit(
                torch.stack(
                    [scope.vector(embedding, torch.tensor([i], device=device)) for i in own]
                ).mean(dim=0)
            )
            for own in tokens.values()
        ]
    return [_stem(word) for word in tokens], torch.stack(vectors)


def _given(request: EditRequest) -> list[Wording]:
    """All texts that an edit was given."""
    prompt = Wording(request.prompt, request.subject_span)
    return [prompt, *request.wordings, *filter(None, [request.question])]


def _around_name(text: Wording) -> str:
    """A text without its subject's name."""
    first, last = text.subject_span
    return f"{text.text[:first]} {text.text[last:]}"


def _stems(texts: Iterable[str]) -> list[str]:
    """The stems of the words of texts."""
    return [_stem(word) for text in texts for word in _WORDS.findall(text.lower())]


def _stem(word: str) -> str:
    """The beginning of a word that it shares with its other forms."""
    return word[: max(STEM_CHARS, len(word) - CUT)]


def _shortest(stems: Iterable[str]) -> list[str]:
    """Stems without those that begin with another one that is long enough to stand for them."""
    kept: list[str] = []
    for stem in sorted(stems):
        if not (kept and len(kept[-1]) >= STEM_CHARS and stem.startswith(kept[-1])):
            kept.append(stem)
    return kept
