"""A directory that anybody may have packed is loaded only as what it says it is: whole, within
itself, without running its code. What is wrong is one line, in bounded time and memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from infra.errors import ModelError
from infra.models.loading import load, locate
from infra.models.tokenizer.trial import MAX_BYTES, require_bounded

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DOWN = "model.layers.1.mlp.down_proj.weight"
Spoil = Callable[[Path], None]


def settings(name: str = "config.json", **changes: Any) -> Spoil:
    def spoil(path: Path) -> None:
        known = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**known, **changes}))

    return spoil


def text(name: str, content: str) -> Spoil:
    def spoil(path: Path) -> None:
        (path / name).write_text(content)

    return spoil


def tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Spoil:
    def spoil(path: Path) -> None:
        save_file(change(load_file(path / WHOLE)), path / WHOLE, {"format": "pt"})

    return spoil


def cast(dtype: torch.dtype) -> Spoil:
    return tensors(lambda all_: {name: one.to(dtype) for name, one in all_.items()})


def head(change: Callable[[dict[str, Any]], Any], length: int | None = None) -> Spoil:
    """Another header before the same numbers; `length` is what the file says of its size."""

    def spoil(path: Path) -> None:
        content = (path / WHOLE).read_bytes()
        end = 8 + struct.unpack("<Q", content[:8])[0]
        made = change(json.loads(content[8:end]))
        new = made if isinstance(made, bytes) else json.dumps(made).encode()
        size = struct.pack("<Q", len(new) if length is None else length)
        (path / WHOLE).write_bytes(size + new + content[end:])

    return spoil


def of_down(**changes: Any) -> Spoil:
    return head(lambda known: {**known, DOWN: {**known[DOWN], **changes}})


def overlapping(known: dict[str, Any]) -> dict[str, Any]:
    """Two tensors of the same bytes."""
    other = DOWN.replace("layers.1", "layers.2")
    return {**known, DOWN: {**known[DOWN], "data_offsets": known[other]["data_offsets"]}}


def indexed(name: str) -> Spoil:
    """All tensors in one file, by an index."""

    def spoil(path: Path) -> None:
        names = load_file(path / WHOLE)
        (path / WHOLE).rename(path.parent / "outside.safetensors")
        torch.save(names, path / "weights.bin")
        (path / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, name)}))

    return spoil


def linked(name: str, target: str) -> Spoil:
    def spoil(path: Path) -> None:
        if (path / name).exists():
            (path / name).rename(path.parent / name)
        (path / name).symlink_to(target.format(parent=path.parent))

    return spoil


def piped(name: str) -> Spoil:
    def spoil(path: Path) -> None:
        (path / name).unlink(missing_ok=True)
        os.mkfifo(path / name)

    return spoil


def listening(path: Path) -> None:
    (path / "config.json").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path)  # the name of a socket has at most 108 bytes
        server.bind("config.json")
        os.chdir(here)


def folder(path: Path) -> None:
    (path / "tokenizer.json").unlink()
    (path / "tokenizer.json").mkdir()


def nested_index(path: Path) -> None:
    (path / WHOLE).unlink()
    (path / INDEX).write_text("[" * 100_000)


def only_pickled(path: Path) -> None:
    """Weights in a pickle, and a file of safetensors that holds nothing of the model."""
    torch.save(load_file(path / WHOLE), path / "pytorch_model.bin")
    save_file({"dummy": torch.zeros(1)}, path / WHOLE)


def template_pipe(path: Path) -> None:
    (path / "additional_chat_templates").mkdir()
    os.mkfifo(path / "additional_chat_templates" / "x.jinja")


def own_code(name: str, **changes: Any) -> Spoil:
    """Settings that lead to a file of code, which leaves a trace where it is run."""

    def spoil(path: Path) -> None:
        trace = path.parent / "ran"
        code = f"open({str(trace)!r}, 'w').close()\nclass C: pass\n"
        (path / "evil.py").write_text(code)
        settings(name, **changes)(path)

    return spoil


def quantised(method: str) -> Spoil:
    return settings(quantization_config={"quant_method": method, "bits": 4})


AUTO = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"}
REFUSED: dict[str, tuple[Spoil, str]] = {
    "nesting without end": (text("config.json", '{"a":' * 100_000), "nested too deeply"),
    "an integer without end": (text("config.json", '{"a": ' + "9" * 5000 + "}"), "config.json"),
    "a vocabulary of 10^12": (settings(vocab_size=10**12), "lacks weights"),
    "a vocabulary of 10^30": (settings(vocab_size=10**30), "cannot be loaded"),
    "a vocabulary below 0": (settings(vocab_size=-1), "cannot be loaded"),
    "10^9 layers": (settings(num_hidden_layers=10**9), "num_hidden_layers = 1e"),
    "-4 layers": (settings(num_hidden_layers=-4), "num_hidden_layers = -4"),
    "a width in words": (settings(hidden_size="32"), "expected int, got str"),
    "a width that is none": (settings(hidden_size=None), "hidden_size"),
    "no heads": (settings(num_attention_heads=0), "cannot be loaded"),
    "a kind that is a list": (settings(model_type=["llama"]), "cannot be loaded"),
    "a text config that is a list": (settings(text_config=[1]), "cannot be loaded"),
    "a kernel of the hub": (settings(_attn_implementation="evil/kernel"), "never run"),
    "a kind of its own": (own_code("config.json", auto_map=AUTO, model_type="evil"), "custom code"),
    "a header that lies about a shape": (of_down(shape=[10**6, 10**6]), "cannot be read"),
    "a header that lies about offsets": (of_down(data_offsets=[0, 10**15]), "cannot be read"),
    "a header of another type": (of_down(dtype="Q4"), "cannot be read"),
    "tensors that overlap": (head(overlapping), "cannot be read"),
    "a header without end": (head(lambda known: known, length=2**63), "cannot be read"),
    "a header of 101 MB": (
        head(lambda known: json.dumps(known).encode() + b" " * 101 * 2**20),
        "header too large",
    ),
    "a header nested without end": (head(lambda _: b'{"a":' * 200_000), "cannot be read"),
    "weights as integers": (cast(torch.int8), "as I8"),
    "weights as truth values": (cast(torch.bool), "as BOOL"),
    "weights as complex numbers": (cast(torch.complex64), "as C64"),
    "weights as 8-bit floats": (cast(torch.float8_e4m3fn), "as F8_E4M3"),
    "a missing tensor": (
        tensors(lambda all_: {name: one for name, one in all_.items() if name != DOWN}),
        f"lacks {DOWN}",
    ),
    "half of the layers": (
        tensors(lambda all_: {n: one for n, one in all_.items() if ".2." not in n}),
        "lacks model.layers.2",
    ),
    "other names": (tensors(lambda all_: {f"x.{n}": one for n, one in all_.items()}), "lacks"),
    "a tensor too many": (
        tensors(lambda all_: {**all_, "model.layers.9.mlp.w": torch.ones(2)}),
        "stores model.layers.9.mlp.w",
    ),
    "other shapes": (
        tensors(lambda all_: {name: torch.cat([one, one]) for name, one in all_.items()}),
        "its config wants",
    ),
    "numbers in place of tensors": (
        tensors(lambda all_: {name: torch.zeros(()) for name in all_}),
        "lacks weights",
    ),
    "weights in a pickle": (only_pickled, "lacks weights"),
    "an index with an absolute path": (indexed("/tmp/x.safetensors"), "outside the directory"),
    "an index with ..": (indexed("../outside.safetensors"), "outside the directory"),
    "an index with .. inside": (indexed("a/../../outside.safetensors"), "outside the directory"),
    "an index to a pickle": (indexed("weights.bin"), "no safetensors file"),
    "an index with a NUL": (indexed("a\0.safetensors"), "not there"),
    "an index with a long name": (indexed("a" * 5000 + ".safetensors"), "no safetensors file"),
    "an index nested without end": (
        nested_index,
        "nested too deeply",
    ),
    "other weights with ..": (settings(transformers_weights="../outside.safetensors"), "outside"),
    "other weights in a pickle": (settings(transformers_weights="weights.bin"), "no safetensors"),
    "a link to other weights": (linked(WHOLE, "{parent}/" + WHOLE), "outside the directory"),
    "a link to another config": (linked("config.json", "../config.json"), "outside the directory"),
    "a link to a file of this machine": (linked("vocab.json", "/etc/passwd"), "outside"),
    "a link to itself": (linked(WHOLE, WHOLE), "leads nowhere"),
    "a link to nothing": (linked("tokenizer.json", "none"), "leads nowhere"),
    "a link to a device": (linked(WHOLE, "/dev/zero"), "a device"),
    "a tokenizer without end": (linked("tokenizer.json", "/dev/zero"), "a device"),
    **{f"{name} as a pipe": (piped(name), "a pipe") for name in (
        *("config.json", WHOLE, INDEX, "tokenizer.json", "tokenizer_config.json"),
        *("generation_config.json", "chat_template.jinja", "merges.txt", "adapter_config.json"),
    )},
    "a template as a pipe": (template_pipe, "a pipe"),
    "a config that listens": (listening, "a socket"),
    "a tokenizer that is a folder": (folder, "a directory"),
    **{f"quantised by {method}": (quantised(method), "is quantised") for method in (
        *("gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors"),
    )},
    "quantised, of old": (settings(compression_config={"format": "pack"}), "is quantised"),
    "quantised, without a word": (
        tensors(lambda all_: {DOWN.replace("weight", "qweight") if n == DOWN else n: one
                              for n, one in all_.items()}),
        "is quantised",
    ),
    "a tokenizer nested without end": (text("tokenizer.json", "[" * 10**6), "cannot be loaded"),
    "a tokenizer without a model": (text("tokenizer.json", "{}"), "cannot be loaded"),
    "a tokenizer's settings as a list": (text("tokenizer_config.json", "[]"), "cannot be"),
    "settings of generation as a list": (text("generation_config.json", "[]"), "cannot be loaded"),
}  # fmt: skip
"""How a directory is spoilt, and what the line that refuses it says."""


@pytest.fixture()
def base(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a tiny model's directory, to be spoilt."""
    return Path(shutil.copytree(checkpoint("qwen2"), tmp_path / "base"))


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A hang is an error after 20 s, an allocation of 64 GiB one at once."""

    def stop(*_: object) -> None:
        raise TimeoutError("this hangs")

    known, limits = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 * 2**30, limits[1]))
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, known)
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_directory_is_refused_in_one_line(
    what: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with it; no code of it is run, and nobody is asked whether it may be."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    spoil, said = REFUSED[what]
    spoil(base)
    with pytest.raises(ModelError, match=said) as caught:
        load(locate(str(base)).path, dtype=torch.float32)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 900
    assert not (base.parent / "ran").exists()


def test_code_beside_a_known_kind_is_not_run(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and a tokenizer that name code of their own are loaded by the classes that
    transformers has for them."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    own_code("config.json", auto_map=AUTO)(base)
    named = {"AutoTokenizer": ["evil.C", "evil.C"]}
    own_code("tokenizer_config.json", auto_map=named, tokenizer_class="C")(base)
    model, _ = load(locate(str(base)).path, dtype=torch.float32)
    assert type(model).__module__.startswith("transformers.")
    assert not (base.parent / "ran").exists()


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(9**9) %}{% for j in range(9**9) %}{% endfor %}{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for %}",
    ],
)
def test_a_chat_template_is_not_rendered(template: str, base: Path) -> None:
    """One that never ends, or reaches for Python, does nothing: prompts are plain text."""
    text("chat_template.jinja", template)(base)
    _, tokenizer = load(locate(str(base)).path, dtype=torch.float32)
    assert tokenizer("Ada")["input_ids"]


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Other values in tokenizer.json."""

    def spoil(path: Path) -> None:
        known = json.loads((path / "tokenizer.json").read_text())
        change(known)
        (path / "tokenizer.json").write_text(json.dumps(known))

    return spoil


def pattern(regex: str) -> Spoil:
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return tokenizer(lambda known: known.update(pre_tokenizer=split))


def normaliser(*steps: dict[str, Any]) -> Spoil:
    every = {"type": "Sequence", "normalizers": list(steps)}
    return tokenizer(lambda known: known.update(normalizer=every))


def adding(known: dict[str, Any]) -> None:
    """More tokens than any model adds, in a file of some megabytes."""
    (one, *_) = known["added_tokens"]
    known["added_tokens"] = [{**one, "id": 999 + i, "content": f"<{i}>"} for i in range(70_000)]


def padded(path: Path) -> None:
    with (path / "tokenizer.json").open("ab") as file:
        file.truncate(MAX_BYTES + 1)


TENFOLD = {"type": "Replace", "pattern": {"Regex": "."}, "content": "a" * 10}
BOMBS: dict[str, tuple[Spoil, str]] = {
    **{f"the pattern {regex}": (pattern(regex), "retry-limit") for regex in (
        *("(a+)+$", "(1+1+)+y", "^(([a-z])+.)+[A-Z]([a-z])+$"),
    )},
    "a pattern that is none": (pattern("("), "its tokenizer cannot be used"),
    "much before a text": (
        normaliser({"type": "Prepend", "prepend": "x" * 10**5}),
        "tokens of ",
    ),
    "a text ten times as long, nine times": (normaliser(*[TENFOLD] * 9), "time or memory"),
    "tokens without end": (tokenizer(adding), "adds 70000 tokens"),
    "a file without end": (padded, "at most 268435456 are read"),
    "nesting": (text("tokenizer.json", "[" * 10**6), "recursion"),
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
def test_a_tokenizer_bomb_is_refused_in_one_line(what: str, base: Path) -> None:
    """Within the limits of time and memory of a process of its own."""
    require_bounded(base)
    spoil, said = BOMBS[what]
    spoil(base)
    with pytest.raises(ModelError, match=said) as caught:
        require_bounded(base, cpu_s=2)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 900


def test_the_hubs_cache_is_made_of_links(base: Path, tmp_path: Path) -> None:
    """Each file of a snapshot links to a blob beside it: loaded as the directory itself is."""
    place = tmp_path / "hub" / "models--a--b"
    (place / "blobs").mkdir(parents=True)
    snapshot = place / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(base.iterdir())):
        shutil.copyfile(file, place / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    (tmp_path / "model").symlink_to(snapshot)
    for path in (snapshot, tmp_path / "model"):
        assert locate(str(path)).digest == locate(str(base)).digest
        load(path, dtype=torch.float32)
