"""The settings of a run, as read from one TOML file."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from discovery.probe.config import ProbeConfig
from discovery.probe.route import RouteConfig
from discovery.relations.relation import load_relations
from discovery.sources import SourceConfig, different_wikibases
from discovery.trust.policy import TrustConfig, check_approvals
from editors import EDITORS
from editors.editor import Editor
from infra.errors import ConfigError
from infra.lm.inference import Compute
from infra.models.embedded import EMBEDDED
from infra.models.loading import dtype_name
from infra.models.public_names import check_hub_id
from infra.settings import nearest, read_toml, validate
from infra.storage.names import check_name
from pipeline.edit.config import EditConfig, check_group, make_editor, paragraphs
from pipeline.evaluate.capability.measure import require_harness
from pipeline.evaluate.capability.tasks import below, read_tasks
from pipeline.evaluate.config import EvaluateConfig, read_text
from pipeline.gate.bounds import GateConfig
from pipeline.plan.config import PlanConfig
from pipeline.schedule import ScheduleConfig
from pipeline.serve import ServeConfig
from pipeline.telemetry import TelemetryConfig

RETRY = "-without-culprits"
"""Ending of the version of a second attempt at an edition, which leaves the culprits out and moves
what the weights have no room for."""
SERVED_BY = {"ours": "scoped", "checkpoint": "errata", "adapter": "memit"}
"""What the server loads -> the editor, where none is set."""
YEARS = range(1000, 9000)
"""Years of an edition's day: they have four digits, and leave room for days before and after."""


class ModelConfig(BaseModel):
    """The model whose facts are kept current, and how it is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = EMBEDDED
    """`smollm2-135m-instruct`, a directory, or a Hugging Face id."""
    base_model: str | None = None
    """What releases call the model: its Hugging Face id, `owner/name`. Unset is `name`, if that is
    such an id; a directory is named by its digest only."""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """Where the model runs: `cpu`, `cuda`, or `cuda:1` for one of several GPUs."""
    dtype: str = Field(default="auto", pattern=r"^(auto|float32|bfloat16|float16)$")
    """Dtype of the computation; `auto` is bfloat16 where the device has it natively, else
    float32."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of each worker of the probe and evaluate stages; more workers use more cores."""
    shard_size: int = Field(default=256, ge=1)
    """Most questions that a worker takes at a time; fewer if there are few in all."""
    max_new_tokens: int = Field(default=16, ge=1)
    """Most tokens of a greedily decoded answer; has to exceed the longest object."""
    license: str | None = None
    """Licence of the base model, for the model card."""

    @field_validator("base_model")
    @classmethod
    def _hub_id(cls, base_model: str | None) -> str | None:
        return base_model if base_model is None else check_hub_id(base_model)

    @property
    def compute(self) -> Compute:
        """How workers run the model, with `auto` replaced by a dtype."""
        return Compute(
            device=self.device,
            dtype=dtype_name(self.dtype, self.device),
            threads=self.threads,
            shard_size=self.shard_size,
            max_new_tokens=self.max_new_tokens,
        )


class Edition(BaseModel):
    """One release to be made, from the state of the sources on one day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date = Field(default_factory=date.today)
    """The day; unset is today. Of a time, the day that is written in it."""
    version: str = ""
    """Name of the release; unset is the day, as `2026.11.23`. Never empty once it is validated."""
    teach_unknown: bool | None = None
    """Overrides plan.teach_unknown for this edition."""
    approve: tuple[str, ...] = ()
    """Added to trust.approve for this edition."""

    @field_validator("approve")
    @classmethod
    def _approvals(cls, approve: tuple[str, ...]) -> tuple[str, ...]:
        return check_approvals(approve)

    @field_validator("as_of", mode="before")
    @classmethod
    def _day(cls, as_of: Any) -> date:
        return day_of(as_of)

    @field_validator("version")
    @classmethod
    def _name(cls, version: str) -> str:
        return check_name(version, "version", reserved=(RETRY,))

    @model_validator(mode="before")
    @classmethod
    def _name_by_day(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and "version" not in raw:
            day = day_of(raw["as_of"]) if "as_of" in raw else date.today()
            return {**raw, "as_of": day, "version": day.strftime("%Y.%m.%d")}
        return raw

    def policy(self, plan: PlanConfig) -> PlanConfig:
        """The settings of the plan stage, with this edition's `teach_unknown` if it has one."""
        if self.teach_unknown is None:
            return plan
        return plan.model_copy(update={"teach_unknown": self.teach_unknown})

    def trusting(self, trust: TrustConfig) -> TrustConfig:
        """The settings of trust, with this edition's approvals added."""
        return trust.model_copy(update={"approve": (*trust.approve, *self.approve)})


class Config(BaseModel):
    """All settings of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: str
    """Name of the model line; each release of a line has the one before it as its parent."""
    workspace: str = "workspace"
    """Directory (or file:// URI) for all outputs; relative to the directory of the command."""
    relations: str | None = None
    """File of further relations and templates; its path is relative to the config file."""
    model: ModelConfig = ModelConfig()
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    """Where facts are read; each source has a name of its own."""
    probe: ProbeConfig = ProbeConfig()
    trust: TrustConfig = TrustConfig()
    route: RouteConfig = RouteConfig()
    plan: PlanConfig = PlanConfig()
    serve: ServeConfig = ServeConfig()
    edit: EditConfig = EditConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    schedule: ScheduleConfig | None = None
    """When editions are made, instead of `editions`; each then names its day itself."""
    editions: tuple[Edition, ...] = Field(default_factory=lambda: (Edition(),), min_length=1)
    """Releases to be made, in the order of their days; unset is one for today."""

    @field_validator("line")
    @classmethod
    def _line(cls, line: str) -> str:
        return check_name(line, "line")

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"two sources have one name ({', '.join(names)})")
        if apart := different_wikibases(self.sources):
            raise ValueError(
                f"sources {apart[0]!r} and {apart[1]!r} are of different Wikibases, where the same "
                "ids mean other things; give each a config of its own"
            )
        for name in self.trust.sources:
            if name not in names:
                raise ValueError(f"trust.sources: {name!r} is no source{nearest(name, names)}")
        days = [edition.as_of for edition in self.editions]
        if days != sorted(set(days)):
            raise ValueError("editions must be in the order of their as_of dates, each later")
        versions = [edition.version for edition in self.editions]
        if len({version.lower() for version in versions}) < len(versions):
            raise ValueError(
                f"two editions have one version ({', '.join(versions)}); upper and lower case are "
                "the same to some file systems"
            )
        return self


def day_of(given: Any) -> date:
    """The day of an `as_of`: a date, a time, or either as ISO 8601 text.

    The day is the one that is written, in whatever time zone. Raises ValueError for anything else,
    such as seconds, which are of different days in different places.
    """
    day = given
    if isinstance(given, str):
        try:
            day = datetime.fromisoformat(given)
        except ValueError:
            day = None
    if isinstance(day, datetime):
        day = day.date()
    if not isinstance(day, date) or day.year not in YEARS:
        shown = given if isinstance(given, date) else reprlib.repr(given)
        raise ValueError(
            f"as_of = {shown} is no day of the years {YEARS[0]} to {YEARS[-1]}. Write "
            "as_of = 2026-11-23"
        )
    return day


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and validate a config file.

    `overrides` maps settings, named with dots as `plan.max_edits`, to values that replace the
    file's; None replaces nothing. Settings of the editor and of capability tasks are checked too,
    and whether files of text and of relations can be read.
    Raises ConfigError with one line: the file, the setting, what was given and what is allowed.
    """
    raw = read_toml(path)
    for dotted, value in (overrides or {}).items():
        if value is None:
            continue
        *parents, last = dotted.split(".")
        table = raw
        for part in parents:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"config {path}: [{part}] is not a table.")
        table[last] = value
        if dotted == "model.name":
            table.pop("base_model", None)  # it is what the file's own model is called
    config = validate(Config, raw, f"config {path}")
    if config.schedule is not None and "editions" in raw:
        raise ConfigError(
            f"config {path}: with [schedule] each edition names its day itself. Leave [[editions]] "
            "or [schedule] out."
        )
    config = config.model_copy(
        update={
            "edit": _below(path.parent, _served(config, path)),
            "evaluate": _below(path.parent, config.evaluate),
        }
    )
    for place, lane in config.edit.lanes.items():
        make_editor(lane, place)  # refuses bad settings now, not hours later at the edit stage
    check_group(config.edit, config.model.device)
    paragraphs(config.edit)
    read_text(config.evaluate)
    if config.relations is not None:
        load_relations(path.parent / config.relations)
    if config.evaluate.capability:
        require_harness()
        read_tasks(config.evaluate.capability, config.evaluate.capability_limit)
    return config


def _served(config: Config, path: Path) -> EditConfig:
    """The settings of the edit stage, with editors whose edits `serve.loads` serves.

    Raises ConfigError where an editor that is set makes other edits, or where `edit.over` is not
    the editor of a second lane.
    """

    def serves(editor: type[Editor]) -> bool:
        """Whether a server that loads `serve.loads` answers by the edits of an editor."""
        fits = {"checkpoint": editor.in_checkpoint, "adapter": editor.low_rank}
        return loads is None or fits.get(loads, True)

    edit, loads = config.edit, config.serve.loads
    if "editor" not in edit.model_fields_set and edit.over is None and loads is not None:
        return edit.model_copy(update={"editor": SERVED_BY[loads]})
    for place, lane in edit.lanes.items():
        editor = EDITORS.get(lane.editor)
        if editor is None or serves(editor):
            continue
        second = place == "edit.over"
        fit = [n for n, e in EDITORS.items() if serves(e) and not (second and e.changes_weights)]
        advice = f"set {place}.editor to one of {', '.join(fit)}" if fit else f"leave {place} out"
        raise ConfigError(
            f'config {path}: serve.loads = "{loads}", which holds no edit of {lane.editor!r} '
            f'({place}). Either {advice}, or set serve.loads = "ours".'
        )
    if edit.over is not None:
        _check_lanes(edit, edit.over.editor, f"config {path}")
    return edit


def _check_lanes(edit: EditConfig, over: str, where: str) -> None:
    """Raise ConfigError unless `edit.editor` changes weights and the editor `over` does not."""
    in_weights = [name for name, editor in EDITORS.items() if editor.changes_weights]
    beside = [name for name in EDITORS if name not in in_weights]
    for place, given, allowed, what in (
        (
            "edit.editor",
            edit.editor,
            in_weights,
            "changes no weights, so that it needs no edit.over",
        ),
        ("edit.over.editor", over, beside, "changes weights too"),
    ):
        if given in EDITORS and given not in allowed:
            raise ConfigError(
                f"{where}: {place} = {given!r} {what}. With edit.over, set {place} to one of "
                f"{', '.join(allowed)}, or leave edit.over out."
            )


def _below(directory: Path, settings: Any) -> Any:
    """The settings with their paths, which are relative to the config file, made absolute."""
    found: dict[str, Any] = {}
    if settings.text is not None:
        found["text"] = str((directory / settings.text).absolute())
    if isinstance(settings, EvaluateConfig):
        found["capability"] = tuple(below(directory, spec) for spec in settings.capability)
    return settings.model_copy(update=found)
