"""Where a run says how it is, for programs that watch it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

from infra.telemetry.text_file import SUFFIX


class TelemetryConfig(BaseModel):
    """Files that a run writes beside its outputs. Nothing in them has an effect on a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str | None = None
    """File of metrics in Prometheus' text form, for node exporter's textfile collector. A relative
    path begins in the workspace."""
    log: str | None = None
    """File to which a run adds its log, one JSON object a line; `--log` overrides it. A relative
    path begins in the workspace."""

    @field_validator("file")
    @classmethod
    def _file(cls, file: str | None) -> str | None:
        if file is not None and not file.endswith(SUFFIX):
            raise ValueError(
                f"telemetry.file = {file!r}: node exporter reads files whose names end in "
                f"{SUFFIX}. Give such a name"
            )
        return file
