"""`corrigenda ask`: give prompts to the unedited model and to a release, and print both answers."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from infra import display
from infra.display import Terminal, say_json
from infra.errors import ConfigError
from jobs.commands.options import JsonOption, LineOption, WorkspaceOption

CHAT_TOKENS = 64
"""Tokens of the longest answer in a chat."""


def ask(
    prompts: Annotated[
        list[str],
        typer.Argument(help="Beginning of a text; the model goes on. With --chat, a message."),
    ],
    workspace: WorkspaceOption = "workspace",
    release: Annotated[
        str | None, typer.Option(help="Version of the release to ask; without it, production.")
    ] = None,
    line: LineOption = None,
    chat: Annotated[
        bool, typer.Option(help="Ask in a chat, through the model's own chat template.")
    ] = False,
    system: Annotated[
        str | None,
        typer.Option(help="System prompt of the chat; without it, the one of the release."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what the unedited model and a release say to the same prompts."""
    import torch

    from infra.lm.chat import has_template
    from infra.lm.inference import ServedModel
    from infra.lm.language_model import LanguageModel
    from infra.lm.question import Question
    from infra.models.library import quiet_transformers
    from infra.models.loading import load
    from infra.settings import is_unicode
    from infra.storage.workspace import Workspace
    from pipeline.bases import base_of
    from pipeline.queries.status import find_release
    from pipeline.release.output import as_released, require_release

    for prompt in (*prompts, *([] if system is None else [system])):
        if not is_unicode(prompt):
            raise ConfigError(f"prompt {prompt!r} has half of a character. Give it as UTF-8 text.")
    if system is not None and not chat:
        raise ConfigError(f"--system {system!r} is of a chat only. Give --chat too.")
    place = Workspace.at(workspace)
    found = find_release(place, line, release)
    require_release(found)
    version = found.record["version"]
    quiet_transformers()
    manifest = found.json("manifest.json")
    asked = manifest["compute"]
    questions = [
        Question(
            id=str(i),
            prompt=p.rstrip(),
            chat=chat,
            system=asked.get("system") if system is None else system,
            greedy=True,
            max_new_tokens=CHAT_TOKENS if chat else asked["max_new_tokens"],
        )
        for i, p in enumerate(prompts)
    ]
    models = (
        ServedModel(name="base", path=base_of(place.root, manifest["base"]).path),
        as_released(found, version),
    )
    answers = {}
    for served in models:
        model, tokenizer = load(served.path, dtype=getattr(torch, asked["dtype"]))
        if chat and not has_template(tokenizer):
            raise ConfigError("--chat: the model's tokenizer has no chat template. Ask without it.")
        if served.attach is not None:
            tokenizer = served.attach(model, tokenizer)
        lm = LanguageModel(model, tokenizer)
        replies = lm.ask(questions)
        answers[served.name] = [reply.greedy for reply in replies]
    if as_json:
        rows = [
            {"prompt": p, "base": answers["base"][i], "release": version, "answer": a}
            for i, (p, a) in enumerate(zip(prompts, answers[version], strict=True))
        ]
        say_json(rows)
        return
    table = Table("prompt", "unedited model", f"release {version}")
    for prompt, *replies in zip(prompts, *answers.values(), strict=True):
        table.add_row(*map(display.line, (prompt, *(text or "(nothing)" for text in replies))))
    Terminal().print(table)
