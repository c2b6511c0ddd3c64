"""Make the vocabulary of a checkpoint longer: new rows of its embedding, and a tokenizer for them.

The new tokens are read and never predicted. A head that is tied to the embedding is stored apart
from it, and each new row of the head is the mean of the old ones. So a new token's logit is the
mean of the others' logits, which is at most the greatest of them. All old rows stay bit for bit.

V: rows of the old embedding. S: new tokens. D: hidden size.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from infra.errors import ModelError
from infra.files.tensors import save_tensors
from infra.models.checkpoint import Checkpoint
from infra.models.files import read_config
from infra.models.inside import read_object
from infra.models.loading import load_tokenizer
from infra.models.names import skeleton

MULTIPLE = 64
"""Servers want a number of rows that this divides."""
TOKENIZER_CLASS = "PreTrainedTokenizerFast"
"""The class that takes `tokenizer.json` as it is. Others of transformers 5 make a normaliser of
their own and would drop the rules by which tokens are inserted."""


def lengthen(path: Path, rows: Callable[[Tensor], Tensor], first: int, tokenizer: Any) -> None:
    """Give the checkpoint in a directory new tokens, whose ids begin at `first`.

    rows       called with the stored embedding [V, D]; their rows of it, [S, D]
    tokenizer  the tokenizer that has them, written in place of the directory's own

    The directory is one that is being made: an interrupted call leaves it unusable. Raises
    ModelError for a model whose head is not a matrix beside the embedding.
    """
    model, stored = skeleton(path), Checkpoint(path)
    named = {id(module): name for name, module in model.named_modules()}
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    if outer is None or outer.weight.shape != inner.weight.shape:
        raise ModelError(
            f"model {path}: {type(model).__name__} has no head of the embedding's shape, which new "
            "tokens could be kept out of. Use another editor."
        )
    target, head = f"{named[id(inner)]}.weight", f"{named[id(outer)]}.weight"
    tied = outer.weight is inner.weight
    old_VD = stored.tensor(target)
    rows_SD = rows(old_VD)
    changed = {stored.stored_name(target): _longer(old_VD, rows_SD, first)}
    old_VD = old_VD if tied else stored.tensor(head)
    changed[head if tied else stored.stored_name(head)] = _with_mean(old_VD, len(rows_SD), first)
    if outer.bias is not None:
        bias = f"{named[id(outer)]}.bias"
        column_V1 = _with_mean(stored.tensor(bias)[:, None], len(rows_SD), first)
        changed[stored.stored_name(bias)] = column_V1[:, 0]
    home = stored.file_of[stored.stored_name(target)]
    if stored.files.index:
        _index(path / stored.files.index, changed, home, stored)
    by_file: dict[str, dict[str, Tensor]] = {}
    for name, tensor in changed.items():
        by_file.setdefault(stored.file_of.get(name, home), {})[name] = tensor.contiguous()
    for file, tensors in by_file.items():
        whole, mode = {**load_file(path / file), **tensors}, (path / file).stat().st_mode
        (path / file).unlink()  # it may be a link to the base's
        save_tensors(whole, path / file, {"format": "pt"})
        (path / file).chmod(mode)
    _resize(path, len(changed[stored.stored_name(target)]))
    _write_tokenizer(path, tokenizer)


def require_kept(tokenizer: Any, config: Any) -> None:
    """Raise ModelError where transformers, given a tokenizer's files beside a config, makes another
    tokenizer of them: for some kinds of models it puts a normaliser of its own in the place of the
    file's, as for Qwen 2."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        config.save_pretrained(path)
        _write_tokenizer(path, tokenizer)
        rules = [_normaliser(one) for one in (tokenizer, load_tokenizer(path))]
    if rules[0] != rules[1]:
        raise ModelError(
            f"transformers reads tokenizers of {config.model_type} without their own rules, so it "
            "would not insert the tokens of errata. Use an editor that leaves the tokenizer as it "
            "is: `scoped`, or `memit` for a server that loads a checkpoint alone."
        )


def _normaliser(tokenizer: Any) -> Any:
    """The normaliser of a tokenizer, as its file has it."""
    return json.loads(tokenizer.backend_tokenizer.to_str())["normalizer"]


def _longer(weight_VD: Tensor, rows_SD: Tensor, first: int) -> Tensor:
    """The weight with rows from `first` on, of zeros up to a multiple of `MULTIPLE`."""
    num = max(len(weight_VD), first + len(rows_SD))
    if num > len(weight_VD):
        num += -num % MULTIPLE
    longer = weight_VD.new_zeros(num, weight_VD.shape[1])
    longer[: len(weight_VD)] = weight_VD
    longer[first : first + len(rows_SD)] = rows_SD
    return longer


def _with_mean(weight_VD: Tensor, num: int, first: int) -> Tensor:
    """The weight with the mean of its rows before `first` in all rows from there on, as many as
    `_longer` has."""
    mean_D = weight_VD[:first].float().mean(dim=0).to(weight_VD.dtype)
    longer = _longer(weight_VD, mean_D.expand(num, -1), first)
    longer[first:] = mean_D
    return longer


def _index(path: Path, changed: dict[str, Tensor], home: str, stored: Checkpoint) -> None:
    """Name new tensors in the index of weight files, and the size of all. The old ones are still
    stored."""
    index = read_object(path.parent, path.name)
    old = {name: stored.tensor(name) for name in changed if name in stored.file_of}
    index["weight_map"] |= {name: home for name in changed if name not in stored.file_of}
    total = index.get("metadata", {}).get("total_size")
    if total is not None:
        more = sum(t.nbytes for t in changed.values()) - sum(t.nbytes for t in old.values())
        index["metadata"]["total_size"] = total + more
    path.write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def _resize(path: Path, num: int) -> None:
    """Say in the config how many rows there are, and that the head is not the embedding."""
    config = read_config(path)
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and (part is config or "vocab_size" in part):
            if "vocab_size" in part or "text_config" not in part:
                part["vocab_size"] = num
            part["tie_word_embeddings"] = False
    (path / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def _write_tokenizer(path: Path, tokenizer: Any) -> None:
    """Write a tokenizer in place of the directory's own."""
    for name in ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model", "vocab.txt"):
        (path / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(path)
    settings = read_object(path, "tokenizer_config.json")
    settings["tokenizer_class"] = TOKENIZER_CLASS
    settings.pop("auto_map", None)
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    (path / "tokenizer_config.json").write_text(text + "\n", "utf-8")
