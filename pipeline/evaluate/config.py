"""Settings of the evaluation, and the held-out text that perplexity is taken on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from infra.errors import ConfigError
from infra.files.digest import digest_of


class EvaluateConfig(BaseModel):
    """What is measured, and on how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: tuple[str, ...] = (
        "preference",
        "generation",
        "locality",
        "portability",
        "retention",
        "text",
        "weights",
    )
    """Families of `pipeline.evaluate.metrics.METRICS`."""
    text: str | None = None
    """Held-out general text for perplexity and drift, a UTF-8 file; unset is the WikiText-2 sample
    we carry."""
    text_chars: int = Field(default=24_000, ge=1000)
    """How much of it is read, from the start."""
    num_alternatives: int = Field(default=2, ge=0, le=10)
    """Targets of other edits that a target has to beat, beside its own old ones."""
    num_paraphrases: int = Field(default=4, ge=1)
    """Of each fact, at most."""
    num_near: int = Field(default=4, ge=0)
    """Neighbours of each fact, at most."""
    num_unrelated: int = Field(default=32, ge=0)
    """Prompts about edited subjects, on other relations, in all."""
    num_neutral: int = Field(default=24, ge=0)
    """Beginnings of general text whose continuation is compared with the base's."""
    agreement_tokens: int = Field(default=6, ge=1)
    """Length at which continuations of questions are compared."""
    neutral_tokens: int = Field(default=16, ge=1)
    """Length at which continuations of general text are compared."""
    num_essays: int = Field(default=1, ge=0, le=2)
    """Free texts about each edited subject, at most; they take 100 tokens each."""
    context: bool = False
    """Whether the unedited model is also asked with the fact in the prompt: what editing could
    reach at best."""
    capability: tuple[str, ...] = ()
    """Tasks of lm-evaluation-harness: names in `pipeline.evaluate.capability.tasks.CARRIED`, or
    your own multiple choice as `NAME=FILE.jsonl`, a line an item: `{"query", "choices", "gold"}`.
    Needs the package extra `capability`."""
    capability_limit: int = Field(default=100, ge=1)
    """Items of each task; each must have as many."""

    def identity(self) -> dict[str, Any]:
        """The settings, with the text's content in place of its path; the tasks count by their
        items (`EvaluateInputs.tasks`)."""
        settings = self.model_dump(mode="json", exclude={"capability"})
        return {**settings, "text": digest_of(read_text(self))}


TEXT = Path(__file__).parent / "texts" / "perplexity.txt"


def read_text(config: EvaluateConfig) -> str:
    """The held-out text. Raises ConfigError where it cannot be read."""
    path = Path(config.text) if config.text else TEXT
    try:
        return path.read_text(encoding="utf-8")[: config.text_chars]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"evaluate.text {path}: {error}. Give a UTF-8 text file.") from None
