"""Makes the `RelationScope` of some edits from the texts of all relations and of the edits.

L: tokens. N: texts. D: hidden size. V: vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from editors.base import Base
from editors.deltas.relation_scope import RelationScope, unit
from editors.deltas.sentences import sentence_bounds
from editors.deltas.token_names import token_texts
from editors.request import EditRequest, Wording

SAME = 0.5
"""Cosine from which a relation is taken for that of an edit whose own is none of those known, such
as `works for` in a table for `employer`."""

Text = tuple[int, ...]
"""The tokens of a text without those of its subject."""


def relation_scope(
    base: Base,
    relations: Mapping[str, tuple[Wording, ...]],
    edits: Sequence[Sequence[EditRequest]],
    *,
    nearness: float,
    margin: float,
) -> tuple[RelationScope, list[tuple[int, ...]]]:
    """The scope, and for each of `edits` the indices of its own texts in it.

    relations  id -> texts of each relation that a prompt may be about, two at least
    edits      the requests of each subject
    nearness   `RelationScope.nearness`
    margin     `RelationScope.margin`

    An edit's own texts are the mean of its relation's, its prompt, and the mean of all that it was
    given; where its relation is none of `relations`, also the means of those that are much like it.
    """
    tokenizer, embedding = base.tokenizer, base.model.get_input_embeddings()
    device = embedding.weight.device
    listed = {
        key: [around_subject(tokenizer, text) for text in texts]
        for key, texts in sorted(relations.items())
    }
    size = base.model.config.get_text_config().vocab_size
    weight_V = _inverse_frequency(list(listed.values()), size)
    marks = [i for i, text in enumerate(token_texts(tokenizer, size)) if not _any_letter(text)]
    weight_V[marks] = 0
    texts = [text for own in listed.values() for text in own]
    used = torch.tensor(sorted({i for text in texts for i in text}), device=device)
    with torch.no_grad():
        centre_D = embedding(used).float().mean(dim=0).cpu()
        scope = RelationScope(
            bounds_V=sentence_bounds(tokenizer, size),
            weight_V=weight_V,
            centre_D=centre_D,
            common_D=torch.zeros_like(centre_D),
            vectors_TD=torch.zeros(0, len(centre_D)),
            num_relations=len(listed),
            nearness=nearness,
            margin=margin,
        )
        known: dict[Text, Tensor] = {}

        def mean(of: Sequence[Text]) -> Tensor:
            for text in set(of) - known.keys():
                ids_L = torch.tensor(text, dtype=torch.long, device=device)
                known[text] = scope.vector(embedding, ids_L)
            return unit(torch.stack([known[text] for text in of]).mean(dim=0))

        text_ND = torch.stack([mean([text]) for text in texts])
        common_D = torch.linalg.svd(text_ND, full_matrices=False)[2][0].clone()
        scope = replace(scope, common_D=common_D)
        known.clear()
        rows: dict[tuple[Text, ...], int] = {}
        index = {key: t for t, key in enumerate(listed)}
        vectors = [mean(own) for own in listed.values()]
        relation_RD = torch.stack(vectors)
        own_texts: list[tuple[int, ...]] = []
        for requests in edits:
            own = {index[r.relation] for r in requests if r.relation in index}
            for request in requests:
                for given in _given(tokenizer, request):
                    if given not in rows:
                        rows[given] = len(vectors)
                        vectors.append(mean(given))
                    own.add(rows[given])
                if request.relation not in index:
                    near_R = relation_RD @ vectors[rows[_given(tokenizer, request)[-1]]]
                    own |= {*(near_R >= SAME).nonzero().flatten().tolist()}
            own_texts.append(tuple(sorted(own)))
    return replace(scope, vectors_TD=torch.stack(vectors)), own_texts


def _any_letter(text: str) -> bool:
    """Whether a text has a letter or a digit. Bytes that are part of a character count as one."""
    return any(c.isalnum() or c == "\ufffd" for c in text)


def around_subject(tokenizer: Any, text: Wording) -> Text:
    """The tokens of a text but for those that overlap its subject, and those that the tokenizer
    adds."""
    encoding = tokenizer(text.text, return_offsets_mapping=True, add_special_tokens=False)
    first, last = text.subject_span
    return tuple(
        token
        for token, (start, end) in zip(
            encoding["input_ids"], encoding["offset_mapping"], strict=True
        )
        if end > start and (end <= first or start >= last)
    )


def _given(tokenizer: Any, request: EditRequest) -> list[tuple[Text, ...]]:
    """The prompt alone, and all texts that an edit was given."""
    prompt = around_subject(tokenizer, Wording(request.prompt, request.subject_span))
    more = [*request.wordings, *filter(None, [request.question])]
    every = (prompt, *(around_subject(tokenizer, text) for text in more))
    return [(prompt,), every] if more else [(prompt,)]


def _inverse_frequency(relations: Sequence[Sequence[Text]], size: int) -> Tensor:
    """ln((R + 1) / (n + 1/2)) for each of `size` token ids, of which n of R relations have it in
    their texts."""
    found = Counter(i for own in relations for i in {i for text in own for i in text})
    weight_V = torch.full((size,), 0.5)
    for i, n in found.items():
        weight_V[i] += n
    return ((len(relations) + 1) / weight_V).log()
