"""How likely a model finds pieces of text, and how far its predictions are from another model's.

A text is run whole, one at a time, without a cache. Axis letters: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from infra.lm.drift import measure_drift
from infra.lm.language_model import LanguageModel
from infra.lm.question import Text, TextScore


@torch.inference_mode()
def score_texts(
    lm: LanguageModel, texts: Sequence[Text], reference: LanguageModel | None = None
) -> list[TextScore]:
    """Negative log-likelihood of each text in nats; with a reference also the KL divergence of the
    model's predictions from the reference's, Σ_v p_ref log(p_ref / p), summed over positions, in
    float32, and the drift of its modules (`infra.lm.drift`).

    A text's first token is not predicted. A text longer than the model's positions is cut there. A
    text of fewer than two tokens gets no score.
    """
    scores = []
    for key, ids_T in (window for text in texts for window in _windows(lm, text)):
        logp_TV = _log_predictions(lm, ids_T)
        gold_T = ids_T[1:].to(logp_TV.device)
        kl = energy = None
        if reference is not None:
            with measure_drift(reference.model, lm.model) as energies:
                base_TV = _log_predictions(reference, ids_T)
            kl = (base_TV.exp() * (base_TV - logp_TV)).sum().item()
            energy = max(energies.values(), default=0.0)
        nll = -logp_TV.gather(1, gold_T[:, None]).sum().item()
        scores.append(TextScore(id=key, nll=nll, kl=kl, energy=energy, num_tokens=len(gold_T)))
    return scores


def _windows(lm: LanguageModel, text: Text) -> Iterator[tuple[str, Tensor]]:
    """Id and token ids [T] of each piece of the text that gets a score of its own."""
    limit = getattr(lm.model.config.get_text_config(), "max_position_embeddings", None)
    ids_T = lm.tokenizer(text.text, return_tensors="pt")["input_ids"][0].long()
    if text.window is None:
        if len(ids_T) > 1:
            yield text.id, ids_T[:limit]
        return
    size = min(text.window, limit or text.window)
    for i, window_T in enumerate(ids_T.split(size)):
        if len(window_T) == size:
            yield f"{text.id}/{i}", window_T


def _log_predictions(lm: LanguageModel, ids_T: Tensor) -> Tensor:
    """log p of every next token [T - 1, V], float32."""
    logits = lm.model(ids_T[None].to(lm.device), use_cache=False).logits[0, :-1]
    return logits.float().log_softmax(-1)
