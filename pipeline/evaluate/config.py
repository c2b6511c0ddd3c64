"""Settings of the evaluation, and the held-out text on which perplexity is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from infra.files.digest import digest_of
from infra.files.text import read_text_file


class EvaluateConfig(BaseModel):
    """Which metrics are measured, and on how many questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: tuple[str, ...] = (
        "preference",
        "generation",
        "locality",
        "portability",
        "retention",
        "chat",
        "text",
        "weights",
    )
    """Names of metric families, keys of `pipeline.evaluate.metrics.METRICS`. `chat` is left out of
    the evaluation of a model whose tokenizer has no chat template."""
    text: str | None = None
    """UTF-8 file with held-out general text for perplexity and KL drift. None uses the WikiText-2
    sample in this package."""
    text_chars: int = Field(default=24_000, ge=1000)
    """Characters of the text that are read, from its start."""
    num_alternatives: int = Field(default=2, ge=0, le=10)
    """Targets of other edits of the same relation that each target is compared with, in addition to
    its own old answers."""
    num_paraphrases: int = Field(default=4, ge=1)
    """Paraphrases that are asked about each fact, at most, and held-out questions in a chat."""
    num_near: int = Field(default=4, ge=0)
    """Neighbours that are asked about for each fact, at most: same relation, other subject."""
    num_unrelated: int = Field(default=32, ge=0)
    """Prompts about edited subjects on other relations, at most, over the whole set; in a chat,
    edited subjects that the model is to tell about."""
    num_neutral: int = Field(default=24, ge=0)
    """Paragraph beginnings of the general text, at most, and plain messages of a chat. Their
    continuations are compared with those of the base model."""
    agreement_tokens: int = Field(default=6, ge=1)
    """Tokens of an answer that are compared with the answer of the base model."""
    neutral_tokens: int = Field(default=16, ge=1)
    """Tokens of a continuation of general text that are compared with the base model's."""
    chat_tokens: int = Field(default=32, ge=1)
    """Tokens of the longest answer in a chat: what it is to name has to come within them."""
    num_essays: int = Field(default=1, ge=0, le=2)
    """Free texts that are generated about each edited subject, at most. Each has 100 tokens."""
    context: bool = False
    """Whether the unedited model is also asked with the fact in the prompt. Its scores show what
    editing could reach at best."""
    capability: tuple[str, ...] = ()
    """Tasks of lm-evaluation-harness, by their names in
    `pipeline.evaluate.capability.tasks.CARRIED`, or multiple-choice tasks of your own as
    `NAME=FILE.jsonl`, with one item `{"query", "choices", "gold"}` a line. Needs the package extra
    `capability`."""
    capability_limit: int = Field(default=100, ge=1)
    """Items that are asked of each task. A task with fewer items is an error."""

    def identity(self) -> dict[str, Any]:
        """The settings that identify an evaluation, with the digest of the held-out text in place
        of its path. `capability` is left out: the tasks' items are in `EvaluateInputs.tasks`.

        Raises ConfigError where the text cannot be read.
        """
        settings = self.model_dump(mode="json", exclude={"capability"})
        return {**settings, "text": digest_of(read_text(self))}


TEXT = Path(__file__).parent / "texts" / "perplexity.txt"
"""The WikiText-2 sample, read where `EvaluateConfig.text` is None."""


def read_text(config: EvaluateConfig) -> str:
    """The first `text_chars` characters of the held-out text. Raises ConfigError where the file
    cannot be read or is not UTF-8."""
    path = Path(config.text) if config.text else TEXT
    return read_text_file(path, "evaluate.text")[: config.text_chars]
