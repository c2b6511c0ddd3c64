"""A release names neither the machine that made it nor a directory of it, and its id is of contents
alone."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file
from worlds import VERSIONS, job

from infra.errors import ConfigError
from infra.models.loading import locate
from infra.storage.workspace import Workspace
from pipeline.bases import base_of
from pipeline.config import load_config
from pipeline.flow import run_editions

PERSON = "quillon-vandermeer"
"""A name that no file has by itself."""


def written(root: Path) -> dict[str, str]:
    """By file, all that a directory holds, with the cells and metadata of tables in plain text."""
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        text = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            text += json.dumps(table.to_pylist(), default=str) + str(table.schema.metadata)
        found[str(path.relative_to(root))] = text
    return found


def release_made_at(home: Path, config: Path, checkpoint: Path, told: str = "") -> Path:
    """The first edition of a config's world, made in a directory `home`: the model and the sources
    are there, by absolute paths, and the model's files say where they came from."""
    model = home / "models" / "base"
    shutil.copytree(checkpoint, model)
    settings = json.loads((model / "config.json").read_text())
    settings |= {"_name_or_path": str(model), "nested": {"_name_or_path": "base/v1"}}
    (model / "config.json").write_text(json.dumps(settings))
    tokenizer = json.loads((model / "tokenizer_config.json").read_text())
    tokenizer |= {"name_or_path": str(model), "tokenizer_file": str(model / "tokenizer.json")}
    (model / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    [weights] = model.glob("*.safetensors")
    save_file(load_file(weights), weights, {"format": "pt", "trained_in": str(model)})
    shutil.copy(config.parent / "people.jsonl", home)
    shutil.copy(config.parent / "text.txt", home)
    text = config.read_text().replace(str(checkpoint), str(model))
    text = text.replace('"people.jsonl"', f'"{home / "people.jsonl"}"')
    text = text.replace('dtype = "float32"', f'dtype = "float32"\n{told}')
    (home / "config.toml").write_text(text[: text.rindex("[[editions]]")])
    run_editions(job(home / "config.toml", home / "workspace"))
    return home / "workspace" / "release" / VERSIONS[0]


@pytest.fixture()
def make(
    world: Callable[..., Path],
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Path]:
    """Makes a release in a directory of this name."""

    def made(name: str, told: str = "") -> Path:
        home = tmp_path / name
        home.mkdir()
        for variable, value in (("HOME", home), ("USER", name), ("LOGNAME", name)):
            monkeypatch.setenv(variable, str(value))
        monkeypatch.setattr(socket, "gethostname", lambda: f"host-of-{name}")
        return release_made_at(home, world(), checkpoint("llama"), told)

    return made


def test_no_byte_of_a_release_names_this_machine(make: Callable[..., Path]) -> None:
    """Neither path, person nor host is in any file, table or metadata of a release that is made of
    a model and a source by their absolute paths; the same contents made elsewhere have the same
    id, and `ask` finds the base still."""
    release = make(PERSON)
    for name, text in written(release).items():
        for telltale in (PERSON, str(release.parents[3])):
            assert telltale not in text, (name, telltale)
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["base"]["name"] is None
    assert "base_model" not in (release / "README.md").read_text().split("---")[1]
    adapter = json.loads((release / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] is None
    place = Workspace.at(str(release.parents[1]))
    assert base_of(place.root, manifest["base"]).digest == manifest["base"]["digest"]


def test_the_id_is_of_contents_alone(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that two configs call differently has two releases of one id; the one whose config
    has its hub id says it in card, manifest, adapter and page."""
    monkeypatch.setattr("infra.models.loading.model_digest", lambda path: "5f" * 32)
    one, two = make("one"), make("two", 'base_model = "org/tiny"')
    manifests = [json.loads((path / "manifest.json").read_text()) for path in (one, two)]
    assert manifests[0]["release_id"] == manifests[1]["release_id"]
    assert [m["base"]["name"] for m in manifests] == [None, "org/tiny"]
    files = written(two)
    assert "base_model: org/tiny" in files["README.md"]
    for name in ("adapter/adapter_config.json", "report.html"):
        assert "org/tiny" in files[name]


@pytest.mark.parametrize(
    "given",
    ["/home/me/model", "./model", "model", "a/b/c", "~/model", "own er/model", "C:\\model", ""],
)
def test_a_base_is_named_by_a_hub_id_only(given: str, world: Callable[..., Path]) -> None:
    """What is no `owner/name` of the hub is refused, with what to give."""
    config = world()
    text = config.read_text().replace("[model]", f"[model]\nbase_model = '{given}'")
    config.write_text(text)
    with pytest.raises(ConfigError, match="give owner/name"):
        load_config(config)


def test_another_model_does_not_take_the_configs_hub_id(world: Callable[..., Path]) -> None:
    """`--model` replaces the model that `base_model` is about, so the id goes with it."""
    config = world()
    config.write_text(config.read_text().replace("[model]", '[model]\nbase_model = "org/tiny"'))
    assert load_config(config).model.base_model == "org/tiny"
    assert load_config(config, {"model.name": "other"}).model.base_model is None


def test_a_base_that_is_not_here_is_refused(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """A digest that no workspace file leads to, and a model that is another by now."""
    with pytest.raises(ConfigError, match="is not known"):
        base_of(tmp_path, {"name": None, "digest": "1f"})
    (tmp_path / "bases.json").write_text(json.dumps({"1f": str(checkpoint("llama"))}))
    with pytest.raises(ConfigError, match="Put the model back"):
        base_of(tmp_path, {"name": None, "digest": "1f"})
    ref: Any = locate(str(checkpoint("llama")))
    assert ref.public_name is None
