"""Small tokenizers that add special tokens to a text, as those of well-known models do."""

from __future__ import annotations

from dataclasses import dataclass

from tiny_models import TEXTS
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

UNKNOWN, SPACE = "<unk>", "\u2581"


@dataclass(frozen=True)
class Kind:
    """How a tokenizer splits text, and what it adds to it."""

    split: str
    """`bytes`, `metaspace` or `spaces` (replaced by a normaliser, as Gemma does)."""
    front: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()


TOKENIZERS = {
    "none": Kind("bytes"),
    "llama-2": Kind("metaspace", ("<s>",)),
    "llama-3": Kind("bytes", ("<|begin_of_text|>",)),
    "gemma": Kind("spaces", ("<bos>",)),
    "glm": Kind("bytes", ("[gMASK]", "<sop>")),
    "t5": Kind("metaspace", (), ("</s>",)),
    "bert": Kind("bytes", ("[CLS]",), ("[SEP]",)),
}
ADDING = {name: kind for name, kind in TOKENIZERS.items() if kind.front or kind.behind}
"""Those that add something."""


def make_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of this name; its special tokens are among the 300 of the tiny models."""
    kind = TOKENIZERS[name]
    inner = Tokenizer(BPE(unk_token=UNKNOWN))
    post: list[processors.PostProcessor] = []
    if kind.split == "bytes":
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
        inner.decoder = decoders.ByteLevel()  # type: ignore[assignment]
        post = [processors.ByteLevel(trim_offsets=False)]
    elif kind.split == "metaspace":
        inner.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
        inner.decoder = decoders.Metaspace()  # type: ignore[assignment]
    else:
        inner.normalizer = normalizers.Replace(" ", SPACE)  # type: ignore[assignment]
        inner.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")  # type: ignore[assignment]
        inner.decoder = decoders.Replace(SPACE, " ")  # type: ignore[assignment]
    added = [*kind.front, *kind.behind]
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>", UNKNOWN, *added],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if kind.split == "bytes" else [],
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS, trainer)
    if added:
        ids = [(token, inner.token_to_id(token)) for token in added]
        single = " ".join([*kind.front, "$A", *kind.behind])
        post.append(processors.TemplateProcessing(single=single, special_tokens=ids))
    inner.post_processor = processors.Sequence(post)  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<end>")


def front_of(tokenizer: PreTrainedTokenizerFast, name: str) -> list[int]:
    """Ids of what the tokenizer of this name puts in front of a text."""
    return [tokenizer.get_vocab()[token] for token in TOKENIZERS[name].front]


def behind_of(tokenizer: PreTrainedTokenizerFast, name: str) -> list[int]:
    """Ids of what the tokenizer of this name adds behind a text."""
    return [tokenizer.get_vocab()[token] for token in TOKENIZERS[name].behind]
