"""Tiny random models of real architectures, and a small byte-level tokenizer for them."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

TEXTS = [
    "Ada Lovelace works for the Analytical Engine Company in London.",
    "Tom Brady plays for the New England Patriots. Tom Brady plays for Tampa Bay Buccaneers.",
    "Wayne Rooney plays for Derby County. The head of Derby County is Wayne Rooney.",
    "Neymar plays for Paris. The capital of France is Paris, and Paris is a city.",
    "Grace Hopper is employed by the Navy. Many people work for the Navy in London.",
    "The weather in London is cold; the weather in Paris is warm, said Grace Hopper.",
] * 2

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
GPT_SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 256,
    "bos_token_id": None,
    "eos_token_id": 0,
}
SLIDING = ["sliding_attention", "full_attention"] * 2
KINDS: dict[str, dict[str, Any]] = {
    "llama": {**SIZES, "tie_word_embeddings": True},
    "qwen2": SIZES,
    "qwen3": SIZES,
    "mistral": {**SIZES, "sliding_window": 6},
    "gemma2": {**SIZES, "sliding_window": 6},
    "gemma3_text": {**SIZES, "sliding_window": 6, "layer_types": SLIDING},
    "olmo2": SIZES,
    "phi": {**SIZES, "num_key_value_heads": 4},
    "granite": {**SIZES, "residual_multiplier": 0.3, "logits_scaling": 2.0},
    "gpt2": GPT_SIZES,
    "gptj": {**GPT_SIZES, "rotary_dim": 4},
    "gpt_neox": SIZES,
}
NORMALISED = {"gemma2", "gemma3_text", "olmo2"}
"""Kinds that normalise the MLP's output before adding it."""


def make_model(kind: str, dtype: torch.dtype = torch.float64) -> Any:
    """A tiny model with weights large enough for contexts and edits to matter."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **KINDS[kind])
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.to(dtype).eval()


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over a few sentences: several tokens a word, offsets, no special tokens
    added."""
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    inner.decoder = ByteLevelDecoder()  # type: ignore[assignment]
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<end>")
