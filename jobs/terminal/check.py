"""What `corrigenda check` prints of each part, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import Any

from rich.console import Console
from rich.text import Text

from infra.display import line
from jobs.terminal.words import many, size
from pipeline.check.check import Part
from pipeline.check.cluster import ClusterCheck
from pipeline.check.duration import DurationCheck
from pipeline.check.editions import EditionCheck, EditionsCheck
from pipeline.check.machine import MachineCheck
from pipeline.check.model import ModelCheck
from pipeline.check.source import Content, Manners, SourceCheck

MAX_LISTED = 5
"""Reasons and relations that are listed."""
PLURALS = {"entry": "entries"}


def print_part(part: Part, console: Console) -> None:
    """Print a heading, what is known of the part, and what would stop a run."""
    console.print(Text(line(_heading(part)), "bold"), soft_wrap=True)
    for said in _lines(part):
        console.print(f"  {line(said)}", soft_wrap=True)
    for said in part.stops:
        console.print(
            Text.assemble("  ", ("stops a run:", "red"), f" {line(said)}"), soft_wrap=True
        )


def print_verdict(stops: Iterable[str], config: str, console: Console) -> None:
    """Print at the end whether a run could be made, and what to do next."""
    found = list(stops)
    if found:
        console.print(f"\n{many(len(found), 'thing')} would stop a run:", soft_wrap=True)
        for said in found:
            console.print(f"  {line(said)}", soft_wrap=True)
        console.print("Mend this and check again.")
        return
    console.print("\nNothing was found that would stop a run. Next, to look before anything is")
    console.print("edited, and then to make the release:")
    for more in (" --until plan", ""):
        console.print(f"  corrigenda run --config {config}{more}", soft_wrap=True)


def about(low_s: float, high_s: float) -> str:
    """A range of durations in words that promise no more than is known: `2 to 4 minutes`."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if high_s >= 1.5 * length:
            low, high = _round(low_s / length), _round(high_s / length)
            return f"{low} to {high} {unit}s" if low < high else many(high, unit)
    return "less than 2 minutes"


def _round(number: float) -> int:
    """A whole number, at least 1, of one digit, or of two that end in 0 or 5."""
    step = 1 if number < 10 else 5 if number < 50 else 10 if number < 100 else 50
    return max(1, round(number / step) * step)


@singledispatch
def _heading(part: Any) -> str:
    raise NotImplementedError(type(part))


@singledispatch
def _lines(part: Any) -> Iterator[str]:
    raise NotImplementedError(type(part))


@_heading.register
def _(part: SourceCheck) -> str:
    return f"Source {part.name} ({part.kind})"


@_lines.register
def _(part: SourceCheck) -> Iterator[str]:
    content = part.content
    if content is not None:
        yield from _content_lines(content)
    if part.manners is not None:
        yield from _manners_lines(part.manners, content)
    yield _trust(part)


def _content_lines(content: Content) -> Iterator[str]:
    """What the beginning of a source holds."""
    pieces = many(content.number, content.unit, PLURALS.get(content.unit, ""))
    facts = many(content.num_facts, "fact")
    if content.whole:
        yield f"It was read: {pieces}, {facts}."
    else:
        yield f"Its beginning was read, {pieces}: {facts}. A run reads all of it."
    if not content.num_facts:
        yield "No fact was found, so there would be nothing to ask or edit."
    for sentence in content.examples:
        yield f"For example: {sentence}"
    if content.num_unreadable:
        yield (
            f"{many(content.num_unreadable, 'fact')} cannot be read; what is known of "
            f"{'it' if content.num_unreadable == 1 else 'them'} is left as it is."
        )
    for skip in content.skips[:MAX_LISTED]:
        lost = "; what is missing counts as unknown, not as gone" if skip.damage else ""
        yield f"Not used, {skip.count:,}: {skip.reason} ({skip.sample[:60]}){lost}"
    if len(content.skips) > MAX_LISTED:
        others = sum(skip.count for skip in content.skips[MAX_LISTED:])
        yield f"Not used, {others:,}: for other reasons"
    if content.untaught:
        total = sum(content.untaught.values())
        listed = [f"{key} ({number:,})" for key, number in content.untaught.items()]
        more = ", ..." if len(listed) > MAX_LISTED else ""
        yield (
            f"{many(total, 'fact')} cannot be taught, since no question is known for "
            f"{', '.join(listed[:MAX_LISTED])}{more}. Describe the relations in a file and name it "
            "as `relations`."
        )


def _manners_lines(manners: Manners, content: Content | None) -> Iterator[str]:
    """How the site is asked."""
    robots = "robots.txt is obeyed" if manners.obeys_robots else "it is asked by its API"
    yield (
        f"Asked at {manners.host} as {manners.contact}, once in {manners.min_interval_s:g} s; "
        f"{robots}."
    )
    if content is not None and content.num_requests:
        seconds = content.num_requests * manners.min_interval_s
        yield (
            f"A first crawl takes at least {many(content.num_requests, 'request')}"
            + (f", {about(seconds, seconds)}." if seconds >= 90 else ".")
        )


def _trust(part: SourceCheck) -> str:
    """How far its facts are trusted."""
    if part.standing.own:
        return "Trust: it is your own, so its facts are acted on at once."
    if part.standing.quarantined:
        return (
            "Trust: every fact waits until a person approves it (`approve` in [trust]), since "
            "nobody vouches for it."
        )
    voices = many(part.quorum, "independent reference", "independent references")
    return (
        f"Trust: anybody can write it, so a fact needs {voices} and must have stood for "
        f"{part.cool_down_h:g} h."
    )


@_heading.register
def _(part: ModelCheck) -> str:
    return f"Model {part.name}"


@_lines.register
def _(part: ModelCheck) -> Iterator[str]:
    if part.download_bytes is not None:
        yield f"It is not on this machine: the first run downloads {size(part.download_bytes)}."
    if part.num_parameters is not None:
        yield (
            f"{part.architecture}, {part.num_parameters / 1e6:,.0f} M parameters, "
            f"{size(part.weights_bytes or 0)} on disk, computed in {part.dtype}."
        )
        yield (
            "Its tokenizer has a template for chats."
            if part.has_chat_template
            else "Its tokenizer has no template for chats."
        )
    if part.num_blocks is not None:
        yield (
            "On a few tokens it was asked, edited, exported and loaded again without a fault; "
            f"{part.num_editable} of its {many(part.num_blocks, 'block')} can be edited."
        )
    if part.left:
        yield f"Other weights beside it, which no release has: {', '.join(part.left)}."
    if part.tokens_s is not None:
        yield f"One worker runs about {float(f'{part.tokens_s:.2g}'):,.0f} tokens a second here."


@_heading.register
def _(part: ClusterCheck) -> str:
    return "Where it runs"


@_lines.register
def _(part: ClusterCheck) -> Iterator[str]:
    if part.workers is not None:
        where = "In one process" if part.address == "none" else "On this machine"
        yield f"{where}: {many(part.cpus or 0, 'CPU')}, {many(part.workers, 'worker')} at a time."
    elif not part.stops:
        yield f"The Ray cluster at {part.address} answers; how many workers fit, it tells a run."


@_heading.register
def _(part: EditionsCheck) -> str:
    return f"What a run makes, in {part.workspace}"


@_lines.register
def _(part: EditionsCheck) -> Iterator[str]:
    for edition in part.editions:
        yield from _edition_lines(edition)


def _edition_lines(edition: EditionCheck) -> Iterator[str]:
    """What an edition is, and what is left of it."""
    after = f"follows {edition.parent}" if edition.parent else "the first of its line"
    name = f"Edition {edition.version}, as of {edition.as_of.isoformat()} ({after})"
    if edition.released:
        yield f"{name}: released already."
        return
    done = f"; finished: {', '.join(edition.finished)}" if edition.finished else ""
    yield f"{name}{done}."
    what = "wrong beliefs are corrected"
    what += (
        " and unknown facts taught"
        if edition.teaches
        else ", unknown facts go on the fact sheet (`teach_unknown` in [plan])"
    )
    yield (
        f"  The model is asked about at most {many(edition.max_asked, 'fact')}, and at most "
        f"{many(edition.max_edits, 'new edit')} made: {what}."
    )


@_heading.register
def _(part: MachineCheck) -> str:
    return "Disk and memory"


@_lines.register
def _(part: MachineCheck) -> Iterator[str]:
    yield (
        f"Disk: at most about {size(part.needed_bytes)} for {many(part.num_releases, 'release')} "
        f"({size(part.release_bytes)} of weights and {size(part.snapshot_bytes)} of snapshots "
        f"each) and statistics; {size(part.free_bytes)} are free."
    )
    what, room = ("Memory", part.memory_bytes)
    if part.gpu_bytes is not None:
        what, room = ("Memory of the GPU", part.gpu_bytes)
    workers = part.workers or 1
    yield (
        f"{what}: {many(workers, 'worker')} with {size(part.worker_bytes)} of models each; there "
        f"are {size(room)}."
    )
    yield from part.warnings


@_heading.register
def _(part: DurationCheck) -> str:
    return "How long it takes"


@_lines.register
def _(part: DurationCheck) -> Iterator[str]:
    if not any(part.by_stage.values()):
        yield "Nothing is left to do."
        return
    origin = (
        "by the speed of the model here, if all of these facts are asked and edited"
        if part.origin == "speed"
        else f"as the edition {part.origin} took"
    )
    yield f"About {about(part.low_s, part.high_s)} in all, {origin}."
    longest = sorted(part.by_stage.items(), key=lambda item: -item[1])[:3]
    told = [f"{stage} {about(0.7 * s, 1.3 * s)}" for stage, s in longest if s >= 1]
    if told:
        yield f"The longest stages: {', '.join(told)}."
