"""Whether the chat template of a model directory is filled within bounds, tried out in a process of
its own.

A template is a program: its loops may end after days, and a text that doubles itself fills any
memory. What happens only with certain messages is not found.
"""

from __future__ import annotations

from pathlib import Path

from infra.errors import ModelError
from infra.lm import chat_program
from infra.models.inside import is_there, read_object
from infra.models.tokenizer.trial import CPU_S, said_in_bounds

LIMIT_REASON = "it takes too much time or memory"


def require_fillable(path: Path, system: str | None, *, cpu_s: int = CPU_S) -> None:
    """Raises ModelError, one line, for a chat template that cannot be filled with a message and the
    system prompt, or takes too much time or memory, and for a system prompt without a template.

    path    the model's directory, whose tokenizer works within bounds (`require_bounded`)
    system  the system prompt; None leaves it to the template
    cpu_s   seconds of CPU time
    """
    if system is None and not stores_template(path):
        return
    said = said_in_bounds(
        Path(str(chat_program.__file__)),
        path,
        str(int(system is not None)),
        given=(system or "").encode(),
        cpu_s=cpu_s,
    )
    if said is None or said:
        raise ModelError(
            f"model {path}: a chat cannot be asked of it ({said or LIMIT_REASON}). Save its "
            "tokenizer with another chat template, or with none, or change serve.system."
        )


def stores_template(path: Path) -> bool:
    """Whether the files of a model directory's tokenizer hold a template for chats."""
    if is_there(path, "chat_template.jinja"):
        return True
    settings = "tokenizer_config.json"
    return is_there(path, settings) and bool(read_object(path, settings).get("chat_template"))
