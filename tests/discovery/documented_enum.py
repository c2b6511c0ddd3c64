"""The docstrings under the members of an enum, which Python does not keep."""

from __future__ import annotations

import ast
import inspect
from enum import StrEnum


def meanings(cls: type[StrEnum]) -> dict[str, str]:
    """By value of a member, the text under it on one line; members without one are missing."""
    [definition] = ast.parse(inspect.getsource(cls)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for member, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            found[ast.literal_eval(member.value)] = " ".join(ast.literal_eval(text.value).split())
    return found
