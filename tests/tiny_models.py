"""Tiny random models of real architectures, and a small byte-level tokenizer for them."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedTokenizerFast,
)

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
LINEAR: dict[str, Any] = {
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 2},
    **{"linear_key_head_dim": 8, "linear_value_head_dim": 8},
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
MAMBA: dict[str, Any] = {
    **{"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1},
    **{"mamba_chunk_size": 8, "mamba_dt_rank": 4},
}
OWN_INPUT: dict[str, Any] = {
    **SIZES,
    **{"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 300},
    **{"sliding_window": 6, "global_head_dim": 8, "num_kv_shared_layers": 1},
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
}
STATEFUL: dict[str, dict[str, Any]] = {
    "qwen3_5_text": {**SIZES, **LINEAR},
    "qwen3_next": {**SIZES, **LINEAR, "mlp_only_layers": [0, 1, 2, 3]},
    "jamba": {**SIZES, **MAMBA, "num_experts": 1, "attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {**SIZES, "layer_types": ["conv", "full_attention"] * 2},
    "granitemoehybrid": {
        **{**SIZES, **MAMBA, "num_local_experts": 0, "shared_intermediate_size": 48},
        "layer_types": ["mamba", "attention"] * 2,
    },
}
"""Kinds some of whose blocks keep a state in place of keys and values."""
PARTLY: dict[str, dict[str, Any]] = {
    "deepseek_v3": {
        **{key: size for key, size in SIZES.items() if key != "head_dim"},
        **{"num_key_value_heads": 4, "first_k_dense_replace": 1},
        **{"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
        **{"moe_intermediate_size": 24, "n_shared_experts": 1, "kv_lora_rank": 8},
        **{"q_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8},
    },
    "ernie4_5_moe": {
        **{**SIZES, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 24},
        **{"moe_num_shared_experts": 0, "moe_layer_start_index": 1},
    },
    "gemma4_text": OWN_INPUT,
}
"""Kinds with experts beside dense MLPs, and with an input of each layer's own."""
UNEDITABLE: dict[str, dict[str, Any]] = {
    "mixtral": {**SIZES, "num_local_experts": 2},
    "mamba": {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "opt": {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "rwkv": {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2},
    "openai-gpt": {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "bert": {**SIZES, "is_decoder": True},
}
"""Kinds that cannot be carried through a run."""
ALL_KINDS = {**KINDS, **STATEFUL, **PARTLY, **UNEDITABLE}
NORMALISED = {"gemma2", "gemma3_text", "olmo2"}
"""Kinds that normalise the MLP's output before adding it."""


def make_model(kind: str, dtype: torch.dtype = torch.float64) -> Any:
    """A tiny model with weights large enough for contexts and edits to matter."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **ALL_KINDS[kind])
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.to(dtype).eval()


SEES: dict[str, Any] = {
    **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "depth": 1},
    **{"num_attention_heads": 2, "num_heads": 2, "image_size": 28, "patch_size": 14},
    **{"out_hidden_size": 32, "head_dim": 8},
}
MULTIMODAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gemma3": (KINDS["gemma3_text"], {"num_attention_heads": 2}),
    "llava": ({"model_type": "llama", **SIZES}, {"model_type": "clip_vision_model"}),
    "mistral3": ({"model_type": "mistral", **SIZES}, {"model_type": "pixtral"}),
    "qwen3_5": (STATEFUL["qwen3_5_text"], {}),
    "qwen3_vl": (SIZES, {"deepstack_visual_indexes": [0]}),
}
"""Text config and vision config of kinds with a vision tower."""


def make_multimodal(kind: str) -> Any:
    """A tiny model with a vision tower, as it is stored, whether or not it is loaded with that."""
    torch.manual_seed(0)
    text, vision = MULTIMODAL[kind]
    config = AutoConfig.for_model(kind, text_config=text, vision_config={**SEES, **vision})
    model = AutoModelForImageTextToText.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.float().eval()


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
