"""A release holds the weights that loaders take, and no others; what cannot be told apart, and what
is damaged, is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from loaders import INDEX, all_serve
from safetensors.torch import load_file, save_file
from tiny_models import make_model

from infra.errors import ModelError
from infra.models.checkpoint import Checkpoint
from infra.models.files import model_files
from infra.models.loading import load, locate

NAME = "model.layers.1.mlp.down_proj.weight"
WHOLE = "model.safetensors"


def copy_weights(path: Path, name: str, old: str = "", new: str = "") -> None:
    """Store the weights once more, under another file's name and, maybe, other tensors' names."""
    weights = load_file(path / WHOLE)
    (path / name).parent.mkdir(exist_ok=True)
    save_file({key.replace(old, new): t for key, t in weights.items()}, path / name)


def stale_shards(path: Path) -> None:
    """An index of an earlier save, one of whose two files is gone."""
    copy_weights(path, "model-00001-of-00002.safetensors")
    files = {NAME: "model-00001-of-00002.safetensors", "x": "model-00002-of-00002.safetensors"}
    (path / INDEX).write_text(json.dumps({"weight_map": files}))


def mistral(path: Path) -> None:
    """As Mistral publishes a model: weights and config once more, in a format of its own."""
    copy_weights(path, "consolidated.safetensors", "mlp.down_proj", "feed_forward.w2")
    (path / "params.json").write_text("{}")


def other_program(name: str) -> Callable[[Path], None]:
    """A file of weights, or an index, of another program."""

    def put(path: Path) -> None:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"weights")

    return put


BESIDE: dict[str, Callable[[Path], None]] = {
    "Mistral's format": mistral,
    "Mistral's shards": lambda path: copy_weights(path, "consolidated-00001-of-00001.safetensors"),
    "a stray copy": lambda path: copy_weights(path, "pytorch_model.safetensors"),
    "a stray part": lambda path: copy_weights(path, "model-00001-of-00001.safetensors"),
    "a variant": lambda path: copy_weights(path, "model.fp16.safetensors"),
    "stale shards": stale_shards,
    "a folder": lambda path: copy_weights(path, "original/model.safetensors"),
    **{
        name: other_program(name)
        for name in (
            *("pytorch_model.bin", "pytorch_model.bin.index.json", "model.gguf", "weights.pth"),
            *(
                "original/consolidated.00.pth",
                "onnx/model.onnx",
                "tf_model.h5",
                "rust_model.ot.npz",
            ),
        )
    },
}
"""What a base directory may hold beside its model."""


@pytest.fixture()
def base(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a tiny model's directory, to be spoilt."""
    return Path(shutil.copytree(checkpoint("mistral"), tmp_path / "base"))


@pytest.mark.parametrize("what", BESIDE)
def test_every_loader_takes_the_edited_weights(what: str, base: Path, tmp_path: Path) -> None:
    """Whatever lies beside the model is left behind and named, and changes no digest."""
    clean = locate(str(base)).digest
    own = {file.name for file in base.iterdir()}
    BESIDE[what](base)
    edited = Checkpoint(base).tensor(NAME) + 1
    Checkpoint(base).export(tmp_path / "out", {NAME: edited})
    assert all_serve(tmp_path / "out", NAME, edited)
    assert {file.name for file in (tmp_path / "out").iterdir()} == own
    assert model_files(base).left
    assert locate(str(base)).digest == clean


def test_shards_keep_their_division_and_index(tmp_path: Path, base: Path) -> None:
    """Of an index, all its files are carried; every loader takes the edit, the base stays."""
    make_model("llama").float().save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, tmp_path / "sharded" / name)
    copy_weights_from = load_file(base / WHOLE)
    save_file(copy_weights_from, tmp_path / "sharded" / "consolidated.safetensors")
    before = Checkpoint(tmp_path / "sharded")
    edited = before.tensor(NAME) + 1
    before.export(tmp_path / "out", {NAME: edited})
    assert len(before.files.weights) > 2 and before.files.left == ("consolidated.safetensors",)
    assert all_serve(tmp_path / "out", NAME, edited)
    assert Checkpoint(tmp_path / "out").file_of == before.file_of


def test_chat_templates_and_processors_are_carried(base: Path, tmp_path: Path) -> None:
    """What a loader reads beside the weights is in the copy, with the templates' folder."""
    names = ("chat_template.jinja", "processor_config.json", "additional_chat_templates/rag.jinja")
    for name in names:
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text("{}")
    Checkpoint(base).export(tmp_path / "out", {})
    assert all((tmp_path / "out" / name).is_file() for name in names)


def index_to(*files: str) -> str:
    return json.dumps({"weight_map": {NAME: files[0], "model.norm.weight": files[-1]}})


def two_saves(path: Path) -> None:
    copy_weights(path, "a.safetensors")
    (path / INDEX).write_text(index_to("a.safetensors"))


def twice_in_shards(path: Path) -> None:
    copy_weights(path, "a.safetensors")
    (path / WHOLE).rename(path / "b.safetensors")
    (path / INDEX).write_text(index_to("a.safetensors", "b.safetensors"))


def other_name(path: Path) -> None:
    (path / WHOLE).rename(path / "pytorch_model.safetensors")


def cut(path: Path) -> None:
    content = (path / WHOLE).read_bytes()
    (path / WHOLE).write_bytes(content[: len(content) // 2])


def lacks_a_shard(path: Path) -> None:
    (path / WHOLE).rename(path / "a.safetensors")
    (path / INDEX).write_text(index_to("a.safetensors", "b.safetensors"))


def changed(name: str | None, replacement: str | None) -> Callable[[Path], None]:
    """The weights without one tensor, or with one renamed."""

    def spoil(path: Path) -> None:
        weights = load_file(path / WHOLE)
        tensor = weights.pop(NAME if name is None else name)
        save_file({**weights, **({replacement: tensor} if replacement else {})}, path / WHOLE)

    return spoil


def no_tensor_of_it(path: Path) -> None:
    weights = load_file(path / WHOLE)
    save_file({f"other.{key}": tensor for key, tensor in weights.items()}, path / WHOLE)


def another_shape(path: Path) -> None:
    weights = load_file(path / WHOLE)
    save_file({**weights, NAME: weights[NAME].T.contiguous()}, path / WHOLE)


def another_tensor(path: Path) -> None:
    weights = load_file(path / WHOLE)
    save_file({**weights, "model.layers.9.mlp.up.weight": weights[NAME].clone()}, path / WHOLE)


def put(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        (path / name).write_bytes(content)

    return spoil


QUANTISED = json.dumps({"quantization_config": {"quant_method": "awq"}}).encode()
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "two saves": (two_saves, "weights twice"),
    "a tensor in two files": (twice_in_shards, "in a.safetensors and b.safetensors"),
    "weights of another name": (other_name, "pytorch_model.safetensors"),
    "a cut file": (cut, "model.safetensors cannot be read"),
    "a cut header": (put(WHOLE, b"\xff\0\0\0\0\0\0\0{"), "model.safetensors cannot be read"),
    "an empty file": (put(WHOLE, b""), "model.safetensors cannot be read"),
    "an index without a file": (lacks_a_shard, "b.safetensors"),
    "an index that is a list": (put(INDEX, b"[]"), "not an object"),
    "an index without a map": (put(INDEX, b"{}"), "weight_map"),
    "an adapter": (put("adapter_config.json", b"{}"), "adapter"),
    "a config that is a list": (put("config.json", b"[]"), "not an object"),
    "an empty config": (put("config.json", b""), "config.json cannot be read"),
    "a config in UTF-16": (put("config.json", "{}".encode("utf-16")), "cannot be read"),
    "a config of no model": (put("config.json", b"{}"), "cannot be loaded"),
    "a config of no known model": (put("config.json", b'{"model_type": "x"}'), "cannot be loaded"),
    "a quantised model": (put("config.json", QUANTISED), "quantised"),
    "an unreadable tokenizer": (put("tokenizer.json", b"["), "cannot be loaded"),
    "a missing tensor": (changed(None, None), f"lacks {NAME}"),
    "a renamed tensor": (changed(None, "model.layers.1.mlp.w2.weight"), f"lacks {NAME}"),
    "no tensor of the model": (no_tensor_of_it, "in all"),
    "a tensor of another shape": (another_shape, NAME),
    "a tensor too many": (another_tensor, "model.layers.9.mlp.up.weight"),
}
"""How a directory is spoilt, and what the line that refuses it says."""


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_whole_model_is_refused_in_one_line(what: str, base: Path) -> None:
    """Neither loaded with random values in place of what is missing, nor a traceback."""
    spoil, said = REFUSED[what]
    spoil(base)
    with pytest.raises(ModelError, match=said) as caught:
        Checkpoint(base)
        load(locate(str(base)).path, dtype=torch.float32)
    assert "\n" not in str(caught.value)
