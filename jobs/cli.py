"""The program `corrigenda`: registers the commands and prints errors."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer

from infra.display import LogLine, line, say, say_json, write_any_character
from infra.errors import CorrigendaError
from infra.secrets.masks import mask_message
from infra.storage.writing import refused
from jobs.commands.ask import ask
from jobs.commands.check import check
from jobs.commands.evaluate import evaluate
from jobs.commands.init import init
from jobs.commands.inspect import releases, status, why
from jobs.commands.release import rollback
from jobs.commands.run import run
from jobs.commands.schedule import schedule
from jobs.commands.submit import cancel, jobs, submit
from jobs.commands.telemetry import telemetry
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
app.command(rich_help_panel="On a cluster, by a schedule")(submit)
app.command(rich_help_panel="On a cluster, by a schedule")(jobs)
app.command(rich_help_panel="On a cluster, by a schedule")(cancel)
app.command(rich_help_panel="On a cluster, by a schedule")(schedule)
app.command(rich_help_panel="Ask and understand")(ask)
app.command(rich_help_panel="Ask and understand")(why)
app.command(rich_help_panel="Look around")(status)
app.command(rich_help_panel="Look around")(releases)
app.command(rich_help_panel="Look around")(verify)
app.command(rich_help_panel="Look around")(telemetry)
app.command(rich_help_panel="Undo")(rollback)
app.command("eval", rich_help_panel="Compare editors")(evaluate)


class _Stopped(BaseException):
    """A signal asked the process to end. It is no Exception, so handlers of errors do not catch it,
    and no KeyboardInterrupt, at which typer would end without a message."""


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `_Stopped` inside the `with`, so that every block that runs
    can clean up, and Ray is stopped."""

    def stop(number: int, _: object) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the program. A CorrigendaError becomes one line on standard error and exit code 1, words
    that no command takes one line and exit code 2.

    With `--json`, the error is a JSON value on standard output too. An interruption (Ctrl-C) exits
    with 130, a termination (SIGTERM) with 143.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # before any library imports tqdm
    write_any_character()
    if logging.lastResort is not None:  # what prints warnings to standard error
        logging.lastResort.setFormatter(LogLine())
    try:
        with _signals_raise():
            code = app(standalone_mode=False)
    except CorrigendaError as error:
        _fail(type(error).__name__, str(error), 1)
    except typer.TyperException as error:
        if not (said := error.format_message()):  # no words at all, for which help is printed
            raise SystemExit(error.exit_code) from None
        command = getattr(getattr(error, "ctx", None), "command_path", "corrigenda")
        advice = f"`{command} --help` tells what it takes."
        _fail("UsageError", f"{said.rstrip('.')}. {advice}", error.exit_code)
    except typer.Abort:
        _fail("UsageError", "a question was not answered. Nothing was written.", 1)
    except OSError as error:
        _fail("StageError", str(refused("", error)), 1)
    except _Stopped as stopped:
        (number,) = stopped.args
        word = "interrupted" if number == signal.SIGINT else "terminated"
        say(f"{word}; finished work is kept, run the same command again", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how a library in Rust gives up
            raise
        said = (
            f"a library gave up ({str(error)[:200]}): mostly a tokenizer with a pattern that tries "
            "everything, at a text of yours. Use another save of the model."
        )
        _fail("ModelError", said, 1)
    raise SystemExit(code)


def _fail(kind: str, said: str, code: int) -> NoReturn:
    """End the program with an error, said on one line and without secrets, as far as there is room
    where standard error and, with `--json`, standard output lead to."""
    said = mask_message(said)
    if "--json" in sys.argv:
        with suppress(OSError):
            say_json({"error": said, "kind": kind})
    with suppress(OSError):
        say(f"{kind}: {line(said)}", file=sys.stderr)
    raise SystemExit(code) from None


if __name__ == "__main__":
    main()
