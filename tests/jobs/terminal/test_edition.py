"""What a run tells a person at its end."""

import io

from rich.console import Console

from jobs.terminal.edition import MAX_REASONS, print_edition


def told(skips):
    stream = io.StringIO()
    print_edition(
        {"version": "1", "stages": {}, "skips": skips, "page": None},
        Console(file=stream, width=120, highlight=False),
    )
    return stream.getvalue()


def skip(number, **more):
    row = {"source": "dump", "reason": f"reason {number}", "count": number, "sample": "Q1"}
    return {**row, **more}


def test_every_skipped_piece_is_counted_in_the_table():
    """Also those whose reasons are too many to be named one by one."""
    text = told([skip(n) for n in range(MAX_REASONS + 3, 0, -1)])
    assert "reason 11 " in text and "reason 3 " not in text
    assert "3 other reasons 6" in " ".join(text.split())


def test_a_sample_is_shown_as_it_is_and_cut():
    """A source's bytes are no markup of ours, and a long one stays on its line."""
    text = told([skip(1, sample='[red]"[/]"\n' + "x" * 500)])
    assert '[red]"[/]" xxx' in text and "..." in text
    assert all(len(line) <= 120 for line in text.splitlines())
