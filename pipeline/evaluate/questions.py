"""What each model is asked: the questions of the configured metric families, and general text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.errors import ConfigError
from infra.lm.chat import has_template
from infra.lm.inference import Questionnaire, ServedModel
from infra.lm.question import Question, Text
from infra.models.loading import load_tokenizer
from infra.settings import nearest
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig, read_text
from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.scoring.family import case_of, merged
from pipeline.export.candidate import Candidate

WINDOW_TOKENS = 256
"""Tokens of a window in which perplexity is measured."""
PIECE_CHARS = 8000
"""Characters of general text that one worker reads at a time."""
NO_TEMPLATE = "the tokenizer has no chat template"
"""Why nothing is asked in a chat."""
NUM_SENTENCES = 50
"""Sentences that are scored one by one, at most."""


def questionnaires(
    cases: CaseSet,
    config: EvaluateConfig,
    *,
    base: ServedModel,
    parent: ServedModel | None,
    candidate: Candidate,
    context: ServedModel | None,
    system: str | None = None,
) -> list[Questionnaire]:
    """The questions and texts for each model.

    Base and candidate get all questions and texts. The parent gets the edits' prompts, their
    paraphrases and questions, and the removed facts. The candidate in memory and with its adapter
    gets the edits' own prompts. `context` gets the questions with the fact in the prompt.

    system  the system prompt of chats; None leaves it to the template
    """
    questions, texts = questions_for(cases, config, system=system), texts_for(config)
    facts = [q for q in questions if q.id.startswith(("edit/", "gone/", "chat/"))]
    own = [q for q in facts if q.id.startswith(("edit/", "gone/")) and q.id.endswith("/0")]
    asked = [Questionnaire(served=base, questions=questions, texts=texts)]
    if parent:
        asked.append(Questionnaire(served=parent, questions=facts))
    asked.append(
        Questionnaire(served=candidate.served, questions=questions, texts=texts, reference=base)
    )
    others = (candidate.memory, candidate.adapter)
    asked += [Questionnaire(served=other, questions=own) for other in others if other]
    if context:
        asked.append(Questionnaire(served=context, questions=in_context(questions, cases)))
    return asked


def families(config: EvaluateConfig) -> list[Any]:
    """The metric families that the config names. Raises ConfigError for an unknown name."""
    for name in config.metrics:
        if name not in METRICS:
            raise ConfigError(
                f"evaluate.metrics: {name!r} is unknown{nearest(name, METRICS)}. "
                f"Choose among {', '.join(METRICS)}."
            )
    return [METRICS[name] for name in config.metrics]


def measurable(config: EvaluateConfig, base: Path) -> tuple[EvaluateConfig, dict[str, str]]:
    """The settings without the families that say nothing of a model, and for each of these why.

    base  directory of the unedited model

    Without a chat template nothing is asked in a chat.
    """
    if "chat" not in config.metrics or has_template(load_tokenizer(base)):
        return config, {}
    metrics = tuple(name for name in config.metrics if name != "chat")
    return config.model_copy(update={"metrics": metrics}), {"chat": NO_TEMPLATE}


def questions_for(
    cases: CaseSet, config: EvaluateConfig, *, system: str | None = None
) -> list[Question]:
    """The questions of all configured families, each question once.

    system  the system prompt of chats; None leaves it to the template
    """
    asked = merged(q for family in families(config) for q in family.questions(cases, config))
    return [replace(q, system=system) if q.chat else q for q in asked]


def texts_for(config: EvaluateConfig) -> list[Text]:
    """The general text: all of it in windows, and its first sentences of 8 words or more one by
    one.

    Empty unless the family `text` is configured. Raises ConfigError where the text cannot be read.
    """
    if "text" not in config.metrics:
        return []
    text = read_text(config)
    sentences = [s.strip() for line in text.split("\n") for s in line.split(" . ")]
    long = [sentence for sentence in sentences if len(sentence.split()) >= 8][:NUM_SENTENCES]
    return [
        *(
            Text(id=f"window/{i}", text=text[start : start + PIECE_CHARS], window=WINDOW_TOKENS)
            for i, start in enumerate(range(0, len(text), PIECE_CHARS))
        ),
        *(Text(id=f"sentence/{i}", text=sentence) for i, sentence in enumerate(long)),
    ]


def in_context(questions: Sequence[Question], cases: CaseSet) -> list[Question]:
    """The questions about a case, each with the edited fact as a sentence before its prompt.

    This is IKE (arXiv:2305.12740) without demonstrations. Questions about general text, removed
    facts and multi-hop questions, and messages that name no subject, are left out.
    """
    told = []
    for question in questions:
        if not question.id.startswith(("neutral/", "gone/", "hop/", "chat-plain/")):
            case = cases.by_id[case_of(question.id)]
            told.append(
                replace(question, prompt=f"{case.prompt} {case.target}.\n{question.prompt}")
            )
    return told
