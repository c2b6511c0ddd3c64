"""The program `corrigenda`: registers the commands and prints errors."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from infra.display import LogLine, line, say, say_json, write_any_character
from infra.errors import CorrigendaError, ModelError
from infra.secrets.masks import mask_message
from infra.storage.writing import refused
from jobs.commands.ask import ask
from jobs.commands.check import check
from jobs.commands.evaluate import evaluate
from jobs.commands.init import init
from jobs.commands.inspect import releases, status, why
from jobs.commands.release import rollback
from jobs.commands.run import run
from jobs.commands.verify import verify

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keep the facts inside a language model current: find what the model has wrong, correct "
    "it, prove that the corrected model is better and unharmed, and release it.",
    epilog="`corrigenda COMMAND --help` tells what a command takes. Begin with `init`.",
)
app.command(rich_help_panel="Begin")(init)
app.command(rich_help_panel="Begin")(check)
app.command(rich_help_panel="Make a release")(run)
app.command(rich_help_panel="Ask and understand")(ask)
app.command(rich_help_panel="Ask and understand")(why)
app.command(rich_help_panel="Look around")(status)
app.command(rich_help_panel="Look around")(releases)
app.command(rich_help_panel="Look around")(verify)
app.command(rich_help_panel="Undo")(rollback)
app.command("eval", rich_help_panel="Compare editors")(evaluate)


class _Stopped(BaseException):
    """A signal asked the process to end. No handler of errors takes it for one, and typer, which
    is silent at Ctrl-C, does not catch it."""


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `_Stopped` inside the `with`, so that what runs is left in order
    and Ray is stopped."""

    def stop(number: int, _: object) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the program. A CorrigendaError becomes one line on standard error and exit code 1.

    With `--json`, the error is a JSON value on standard output too. An interruption (Ctrl-C) exits
    with 130, a termination (SIGTERM) with 143.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # before any library imports tqdm
    write_any_character()
    if logging.lastResort is not None:  # what prints warnings to standard error
        logging.lastResort.setFormatter(LogLine())
    try:
        with _signals_raise():
            app()
    except CorrigendaError as error:
        _tell(error)
        raise SystemExit(1) from None
    except OSError as error:
        _tell(refused("", error))
        raise SystemExit(1) from None
    except _Stopped as stopped:
        (number,) = stopped.args
        word = "interrupted" if number == signal.SIGINT else "terminated"
        say(f"{word}; finished work is kept, run the same command again", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how a library in Rust gives up
            raise
        _tell(
            ModelError(
                f"a library gave up ({str(error)[:200]}): mostly a tokenizer with a pattern that "
                "tries everything, at a text of yours. Use another save of the model."
            )
        )
        raise SystemExit(1) from None


def _tell(error: CorrigendaError) -> None:
    """Print an error to standard error and, with `--json`, to standard output, as far as there is
    room where these lead to."""
    said = mask_message(str(error))
    if "--json" in sys.argv:
        with suppress(OSError):
            say_json({"error": said, "kind": type(error).__name__})
    with suppress(OSError):
        say(f"{type(error).__name__}: {line(said)}", file=sys.stderr)
