"""Settings of the edit stage, and the general text that the editor's statistics are taken on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from editors import EDITORS
from infra.errors import ConfigError
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

    def identity(self) -> dict[str, Any]:
        """The settings with the text's digest in place of its path, for fingerprints."""
        return {**self.model_dump(mode="json"), "text": file_digest(text_path(self))}

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


def text_path(config: EditConfig) -> Path:
    """The file of general text that the statistics are taken on."""
    return Path(config.text) if config.text else TEXT


def paragraphs(config: EditConfig) -> list[str]:
    """The paragraphs of the general text. Raises ConfigError if it cannot be read."""
    return read_text_file(text_path(config), "edit.text").split("\n\n")
