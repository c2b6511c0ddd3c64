"""How likely a model finds pieces of text, and how far its predictions are from another model's.

A text is run whole, one at a time, without a cache. It begins, and each window of it, with the
tokens that the tokenizer puts in front of a text; these are not predicted, and count in no sum.
What the tokenizer adds behind a text is left out. Tokens that it inserts into the text
(`infra.models.tokenizer.insertion`) are read and not predicted: they are no part of what was
written, and the reference does not read them. Axis letters: T tokens, V vocabulary, A tokens in
front.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from infra.lm.drift import measure_drift
from infra.lm.language_model import LanguageModel
from infra.lm.question import Text, TextScore
from infra.lm.text_tokens import cut, own_tokens


@torch.inference_mode()
def score_texts(
    lm: LanguageModel, texts: Sequence[Text], reference: LanguageModel | None = None
) -> list[TextScore]:
    """Negative log-likelihood of each text in nats; with a reference also the KL divergence of the
    model's predictions from the reference's, Σ_v p_ref log(p_ref / p), summed over positions, in
    float32, and the drift of its modules (`infra.lm.drift`).

    The text's own first token is predicted only where the tokenizer puts a token in front. A text
    longer than the model's positions is cut there. A text without a predicted token gets no score.
    """
    scores = []
    num_given = max(1, len(lm.front_A))
    for key, ids_T in (window for text in texts for window in _windows(lm, text)):
        own_T = torch.tensor([token not in lm.inserted for token in ids_T.tolist()])
        kept_T = own_T[num_given:].to(lm.device)
        logp_TV = _log_predictions(lm, ids_T, num_given)[kept_T]
        gold_T = ids_T[num_given:].to(lm.device)[kept_T]
        kl = energy = None
        if reference is not None:
            with measure_drift(reference.model, lm.model, skip=len(lm.front_A)) as energies:
                base_TV = _log_predictions(reference, ids_T[own_T], num_given)
            same_TV = logp_TV[:, : base_TV.shape[1]]
            kl = (base_TV.exp() * (base_TV - same_TV)).sum().item()
            energy = max(energies.values(), default=0.0)
        nll = -logp_TV.gather(1, gold_T[:, None]).sum().item()
        scores.append(TextScore(id=key, nll=nll, kl=kl, energy=energy, num_tokens=len(gold_T)))
    return scores


def _windows(lm: LanguageModel, text: Text) -> Iterator[tuple[str, Tensor]]:
    """Id and token ids [T] of each piece of the text that gets a score of its own."""
    limit = getattr(lm.model.config.get_text_config(), "max_position_embeddings", None)
    own = own_tokens(lm.tokenizer, text.text)
    if text.window is None:
        ids = [*lm.front_A, *own][:limit]
        if len(ids) > max(1, len(lm.front_A)):
            yield text.id, torch.tensor(ids)
        return
    size = min(text.window, limit or text.window)
    for i, window in enumerate(cut(lm.front_A, own, size, lm.inserted)):
        if sum(token not in lm.inserted for token in window) == size:
            yield f"{text.id}/{i}", torch.tensor(window)


def _log_predictions(lm: LanguageModel, ids_T: Tensor, num_given: int) -> Tensor:
    """log p of every token behind the first `num_given` ones [T - num_given, V], float32."""
    logits_TV = lm.model(ids_T[None].to(lm.device), use_cache=False).logits[0]
    return logits_TV[num_given - 1 : -1].float().log_softmax(-1)
