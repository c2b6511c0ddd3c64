"""What a run tells a person at its end."""

import io
import re
import shlex
from pathlib import Path

from infra.display import Terminal
from infra.storage.workspace import Workspace
from jobs.terminal.edition import MAX_REASONS, print_edition, print_next
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import check


def told(skips=(), *, verbose=False, **more):
    stream = io.StringIO()
    print_edition(
        {"version": "1", "stages": {}, "skips": skips, "page": None, **more},
        Terminal(file=stream, width=120),
        verbose=verbose,
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


def metric(value, **more):
    return {"value": value, "low": None, "high": None, "n": 9, "protocol": "", **more}


def test_why_changes_were_not_edited_is_told_in_words_and_adds_up():
    """Two keys of one reason are one row; the heading has the sum of its rows."""
    plan = {
        "actions": {"teach": 2},
        "removed": 0,
        "refused": 3,
        "refusals": {"ignored: added without a date": 1, "forget: added without a date": 2},
        "held": {"held: quorum": 5, "cooling: quorum": 1, "eligible: edit budget": 2},
        "sheet": 9,
        "routed": {"set": 4},
    }
    text = told(stages={"plan": {"counts": plan}})
    assert re.search(r"^Not edited: 3 changes\n +3  added without a date$", text, re.MULTILINE)
    assert re.search(r"person: 8 changes\n +6  too few .*\n +2  over the limit of edits", text)
    over = "What is over a limit is on the fact sheet until a later edition"
    assert over in text
    quorum = {**plan, "held": {"held: quorum": 5}}
    assert over not in told(stages={"plan": {"counts": quorum}})
    assert re.search(r"retrieval: 9 facts\n  4 of .*\n +4  several values are true at once", text)


def test_the_main_metrics_are_shown_and_the_rest_for_verbose():
    """In words; the number of those left out is right; nothing is hidden where none is a main
    one."""
    numbers = {"reliability": metric(0.79), "kl": metric(0.02), "S": metric(0.5)}
    report = {"roles": {"base": {"reliability": metric(0.1)}, "candidate": numbers}}
    short, long = (told(report=report, verbose=verbose) for verbose in (False, True))
    assert "answers right by itself" in short and "KL drift" not in short
    assert "2 more numbers" in short and "more number" not in long
    assert all(re.search(rf" {name} *$", long, re.MULTILINE) for name in numbers)
    assert "unedited base" in short and "this release" in short and "release before" not in short
    rest = {"roles": {"candidate": {"kl": metric(0.02)}}}
    assert "KL drift" in told(report=rest) and "more number" not in told(report=rest)


def test_of_the_gate_the_checks_that_do_not_pass_are_shown_and_all_for_verbose():
    """With the number of those that pass."""
    report = {
        "roles": {"base": {}, "candidate": {"reliability": metric(0.1), "leak": metric(0.0)}},
        "differences": {},
        "relations": {},
        "families": ["generation", "locality", "preference", "retention", "text", "weights"],
        "left_out": {"chat": "the tokenizer has no chat template"},
        "data": {"cases": 9},
    }
    checks = check(report, 0.0, GateConfig())
    names = [c.name for c in checks]
    rows = [{key: getattr(c, key) for key in c.__slots__} for c in checks]
    gate = {"passed": False, "checks": rows, "alarms": [], "search": None}
    gate["left_out"] = report["left_out"]
    short, long = (told(gate=gate, verbose=verbose) for verbose in (False, True))
    assert sorted(names) == ["leak", "quarantined", "reliability"]
    assert "Gate failed: 2 of 3 checks passed" in short
    assert "not checked  chat: the tokenizer has no chat template" in short
    assert "(reliability): 0.100, allowed at least 0.700" in short and "leak" not in short
    assert all(f"({name}): " in long for name in names)


def test_a_prompt_is_no_markup():
    """What a source or the model says is shown as it is."""
    example = {"prompt": "[red]A[/] is", "before_answer": "", "answer": "[b]C"}
    text = told(examples=[example])
    assert "[red]A[/] is" in text and "before  (nothing)" in text and "now     [b]C" in text


def test_commands_to_try_next_can_be_pasted_into_a_shell():
    """A prompt that a source wrote is one word of the command, which runs nothing else."""
    for prompt in ("Ada works for", "$(id) \"; id; `id` '", "it's\nid"):
        stream = io.StringIO()
        place = Workspace(Path("/tmp/my $(id) space"))
        print_next({"examples": [{"prompt": prompt}]}, place, Terminal(file=stream, width=80))
        (command,) = [text for text in stream.getvalue().splitlines() if " why " in text]
        words = shlex.split(command)
        assert words[-4:] == ["why", prompt.replace("\n", "\\n"), "--workspace", str(place.root)]
