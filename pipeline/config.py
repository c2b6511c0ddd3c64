"""The settings of a run, as read from one TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from discovery.probe.config import ProbeConfig
from discovery.probe.route import RouteConfig
from discovery.sources import SourceConfig, different_wikibases
from discovery.trust.policy import TrustConfig, check_approvals
from infra.errors import ConfigError
from infra.lm.inference import Compute
from infra.models.loading import EMBEDDED, dtype_name
from infra.models.public_names import check_hub_id
from infra.settings import nearest, read_toml, validate
from pipeline.edit.config import EditConfig, make_editor
from pipeline.evaluate.capability.measure import require_harness
from pipeline.evaluate.capability.tasks import below, read_tasks
from pipeline.evaluate.config import EvaluateConfig
from pipeline.gate.bounds import GateConfig
from pipeline.plan.config import PlanConfig


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
    """The day; unset is today."""
    version: str = Field(default="", pattern=r"^[A-Za-z0-9._-]+$")
    """Name of the release; unset is the day, as `2026.11.23`."""
    teach_unknown: bool | None = None
    """Overrides plan.teach_unknown for this edition."""
    approve: tuple[str, ...] = ()
    """Added to trust.approve for this edition."""

    @field_validator("approve")
    @classmethod
    def _approvals(cls, approve: tuple[str, ...]) -> tuple[str, ...]:
        return check_approvals(approve)

    @model_validator(mode="before")
    @classmethod
    def _name_by_date(cls, raw: dict[str, Any]) -> dict[str, Any]:
        as_of = raw.get("as_of") or date.today()
        if isinstance(as_of, str):
            try:
                as_of = date.fromisoformat(as_of)
            except ValueError:
                return raw  # refused by its own field
        if isinstance(as_of, date):
            return {"version": as_of.strftime("%Y.%m.%d"), **raw, "as_of": as_of}
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

    line: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
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
    edit: EditConfig = EditConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    editions: tuple[Edition, ...] = Field(default_factory=lambda: (Edition(),))
    """Releases to be made, in the order of their days; unset is one for today."""

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
        return self


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and validate a config file.

    `overrides` maps settings, named with dots as `plan.max_edits`, to values that replace the
    file's; None replaces nothing. Settings of the editor and of capability tasks are checked too.
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
    config = config.model_copy(
        update={
            "edit": _below(path.parent, config.edit),
            "evaluate": _below(path.parent, config.evaluate),
        }
    )
    make_editor(config.edit)  # refuses bad settings now, not hours later at the edit stage
    if config.evaluate.capability:
        require_harness()
        read_tasks(config.evaluate.capability, config.evaluate.capability_limit)
    return config


def _below(directory: Path, settings: Any) -> Any:
    """The settings with their paths, which are relative to the config file, made absolute."""
    found: dict[str, Any] = {}
    if settings.text is not None:
        found["text"] = str((directory / settings.text).absolute())
    if isinstance(settings, EvaluateConfig):
        found["capability"] = tuple(below(directory, spec) for spec in settings.capability)
    return settings.model_copy(update=found)
