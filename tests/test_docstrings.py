"""Every public module, class and function of infra says in a docstring what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

INFRA = Path(__file__).parents[1] / "infra"


def undocumented(source: str, module: str) -> Iterator[str]:
    """Names without a docstring: the module, its public classes and functions, their methods.

    Special methods such as `__call__` count as public.
    """
    tree = ast.parse(source)
    if not ast.get_docstring(tree):
        yield module
    yield from _undocumented_in(tree, module)


def _undocumented_in(node: ast.Module | ast.ClassDef, path: str) -> Iterator[str]:
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_") and not child.name.startswith("__"):
                continue
            name = f"{path}.{child.name}"
            if not ast.get_docstring(child):
                yield name
            if isinstance(child, ast.ClassDef):
                yield from _undocumented_in(child, name)


def test_everything_public_in_infra_has_a_docstring() -> None:
    """No public name of infra is left to be guessed."""
    missing = [
        name
        for path in sorted(INFRA.rglob("*.py"))
        for name in undocumented(
            path.read_text(encoding="utf-8"),
            ".".join(path.relative_to(INFRA.parent).with_suffix("").parts),
        )
    ]
    assert not missing, f"without a docstring: {', '.join(missing)}"


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("x = 1", ["m"]),
        ('"""A module."""\ndef f(): ...', ["m.f"]),
        ('"""A module."""\nclass C:\n    """A class."""\n    def f(self): ...', ["m.C.f"]),
        (
            '"""A module."""\nclass C:\n    """A class."""\n    def __call__(self): ...',
            ["m.C.__call__"],
        ),
        ('"""A module."""\ndef _f(): ...\nclass _C:\n    def f(self): ...', []),
    ],
)
def test_a_missing_docstring_is_found(source: str, missing: list[str]) -> None:
    """Modules, functions, classes and methods are looked at, private ones are not."""
    assert list(undocumented(source, "m")) == missing
