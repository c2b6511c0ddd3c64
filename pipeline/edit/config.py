"""Settings of the edit stage, and the general text that the editor's statistics are taken on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from editors import EDITORS
from infra.errors import ConfigError
from infra.execution.runner import Resources
from infra.files.digest import file_digest
from infra.files.text import read_text_file
from infra.settings import nearest, validate

TEXT = Path(__file__).parent / "texts" / "statistics.txt"
"""General text used unless the config names another: paragraphs of Wikipedia."""


class OverConfig(BaseModel):
    """The editor of the facts that the weights have no room for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    editor: str
    """A name in `editors.EDITORS`: one that keeps facts beside the weights."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the editor; see its config class."""


class EditConfig(BaseModel):
    """The editor, and the text that its statistics are taken on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    editor: str = "memit"
    """A name in `editors.EDITORS`. Unset in a run's config, `serve.loads` chooses: `ours` is
    `scoped`, `checkpoint` is `errata`."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the editor; see its config class."""
    over: OverConfig | None = None
    """The editor of the facts that the weights have no room for; unset, these go to the fact sheet.
    Only with an `editor` that changes weights."""
    text: str | None = None
    """UTF-8 file of general text for the statistics, paragraphs separated by empty lines; unset is
    the package's own sample of Wikipedia."""
    preserve_share: float = Field(default=0.5, ge=0, lt=1)
    """Weight, 0 to 1, of the plan's statements about other subjects in the statistics; the rest of
    the weight is that of general text. Without them, edits of many facts of one relation change the
    model's answers about similar subjects."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of an editing worker. The result depends on it, for it sets the order in which
    floats are added."""
    workers: int = Field(default=1, ge=1)
    """Processes of the group that edits; 1 without `sharding` is no group: as many workers as there
    is room for then find statistics and values. The result does not depend on it without
    `sharding`."""
    sharding: Literal["none", "zero3"] = "none"
    """Whether each worker holds the whole model, or the workers hold a part each of its weights
    (DeepSpeed ZeRO-3). The result with `zero3` is the same up to rounding."""
    gpus_per_worker: float = Field(default=1.0, gt=0, le=64)
    """GPUs of a worker, where `device` of [model] is `cuda`. A fraction lets several workers that
    are no group share one."""

    def identity(self) -> dict[str, Any]:
        """The settings with the text's digest in place of its path, for fingerprints; without those
        that say where the work is done, unless the weights are sharded: rounding then depends on
        the number of workers."""
        where = {"workers", "sharding", "gpus_per_worker"}
        settings = self.model_dump(mode="json", exclude=where)
        if self.sharding != "none":
            settings |= {"sharding": self.sharding, "workers": self.workers}
        return {**settings, "text": file_digest(text_path(self))}

    @property
    def in_group(self) -> bool:
        """Whether a group of processes edits."""
        return self.workers > 1 or self.sharding != "none"

    def resources(self, device: str) -> Resources:
        """What one worker needs of a machine.

        device  where the model runs: `cpu`, or `cuda` with or without a number
        """
        gpus = self.gpus_per_worker if device.startswith("cuda") else 0.0
        return Resources(num_cpus=self.threads, num_gpus=gpus)

    @property
    def lanes(self) -> Mapping[str, EditConfig]:
        """The settings of each lane that an editor makes, by its place in the config: `edit` and,
        where it is set, `edit.over`."""
        lanes: dict[str, EditConfig] = {"edit": self.model_copy(update={"over": None})}
        if self.over is not None:
            own = {"editor": self.over.editor, "options": self.over.options, "over": None}
            lanes["edit.over"] = self.model_copy(update=own)
        return lanes


def make_editor(config: EditConfig, place: str = "edit") -> Any:
    """The editor of a config. Raises ConfigError for an unknown editor or a bad option, which names
    the setting by the `place` of the table."""
    if config.editor not in EDITORS:
        known = ", ".join(EDITORS)
        raise ConfigError(
            f"{place}.editor = {config.editor!r} is unknown{nearest(config.editor, EDITORS)}. "
            f"Choose one of {known}."
        )
    editor = EDITORS[config.editor]
    return editor(validate(editor.Config, config.options, f"config [{place}.options]"))


def check_group(config: EditConfig, device: str) -> None:
    """Raise ConfigError where a group of processes cannot work with these settings.

    device  where the model runs, as of [model]
    """
    if not config.in_group:
        return
    for place, lane in config.lanes.items():
        if config.sharding != "none" and not EDITORS[lane.editor].shardable:
            fit = ", ".join(name for name, editor in EDITORS.items() if editor.shardable)
            raise ConfigError(
                f"edit.sharding = {config.sharding!r}, and the editor {lane.editor!r} ({place}) "
                f'needs whole weights. Set {place}.editor to one of {fit}, or sharding = "none".'
            )
    if device == "cpu":
        return
    if device != "cuda":
        raise ConfigError(
            f"model.device = {device!r} is one GPU, and edit.workers = {config.workers} processes "
            'take one each. Set model.device = "cuda".'
        )
    if config.gpus_per_worker != round(config.gpus_per_worker):
        raise ConfigError(
            f"edit.gpus_per_worker = {config.gpus_per_worker:g}, and the processes of a group "
            "cannot share a GPU. Set it to 1."
        )


def text_path(config: EditConfig) -> Path:
    """The file of general text that the statistics are taken on."""
    return Path(config.text) if config.text else TEXT


def paragraphs(config: EditConfig) -> list[str]:
    """The paragraphs of the general text. Raises ConfigError if it cannot be read."""
    return read_text_file(text_path(config), "edit.text").split("\n\n")
