"""Our editor, phase by phase and timed, as the edit stage runs it.

Workers hold a model and an editor; statistics and values are shared out among them, one worker
sorts and one solves. All that benchmarks know of the editors' interface is here.
"""

from __future__ import annotations

import inspect
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.base import Base
from editors.editor import Corpus, EditorCall, Proposal, Work
from editors.internals.contexts import contexts
from editors.internals.tokens import essence, in_context
from editors.local_modification import least_squares
from editors.local_modification.gradient_based.memit import Memit
from editors.request import EditRequest
from editors.statistics.key_moments import Statistics, fit
from infra.execution.runner import Resources, Runner
from infra.models.loading import load
from infra.settings import validate
from pipeline.edit.config import TEXT
from pipeline.edit.worker import FIT_PARTS

Call = Callable[[Sequence[tuple[Any, ...]]], list[Any]]
"""Does tasks, each the name of an `Engine` method and its arguments, as parallel as it can."""


class Engine:
    """A model and MEMIT; does one task at a time."""

    def __init__(self, base: Base, options: Mapping[str, Any]) -> None:
        self.base = base
        self.editor = Memit(validate(Memit.Config, options, "options"))

    def __call__(self, task: tuple[Any, ...]) -> Any:
        name, *arguments = task
        return getattr(self, name)(*arguments)

    def ready(self) -> None:
        """Nothing: whoever answers is loaded."""

    def layers(self) -> list[int]:
        """The layers it edits."""
        return list(self.editor.layers(self.base.architecture))

    def fit(self, part: int) -> Statistics:
        """Statistics over one part of the general text."""
        return self.editor.fit(EditorCall(self.base), Corpus(general_text(), (part, FIT_PARTS)))

    def prepare(self, requests: Sequence[EditRequest], fitted: Statistics) -> Work:
        """Requests sorted, values of none known."""
        return self.editor.prepare(EditorCall(self.base, fitted), requests)

    def find_values(self, group: Sequence[EditRequest], fitted: Statistics) -> dict[str, Tensor]:
        """Values of one group."""
        return self.editor.find_values(EditorCall(self.base, fitted), group)

    def propose(
        self, work: Work, fitted: Statistics, values: dict[str, Tensor]
    ) -> tuple[Proposal, float]:
        """The delta, and the seconds spent in `editors.local_modification.least_squares`."""
        with timed(least_squares) as spent:
            proposal = self.editor.propose(EditorCall(self.base, fitted, values), work)
        return proposal, sum(spent)

    def sizes(self, requests: Sequence[EditRequest]) -> list[tuple[int, int]]:
        """Of each request, over all its rows and the essence's: tokens from the lookup on, and
        those among them from which a token is predicted."""
        config, tokenizer = self.editor.config, self.base.tokenizer
        number, length = config.num_prefixed, config.context_tokens
        texts = contexts(self.base.model, tokenizer, num_prefixed=number, num_tokens=length)
        found: list[tuple[int, int]] = []
        for request in requests:
            rows = [in_context(tokenizer, request, text) for text in texts]
            bottom = essence(tokenizer, request.subject)
            tokens = sum(len(row.suffix) for row in (*rows, bottom))
            found.append((tokens, sum(row.num_target for row in rows) + 1))
        return found

    def cpu_s(self) -> float:
        """CPU seconds of this process so far."""
        return time.process_time()

    def peak_bytes(self) -> int:
        """Most memory held: on the GPU where the model is on one, else resident."""
        if self.base.model.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class MakeEngine:
    """Builds the worker in its own process."""

    model: Path
    dtype: str
    options: Mapping[str, Any]

    def __call__(self) -> Engine:
        loaded = load(self.model, dtype=getattr(torch, self.dtype))
        return Engine(Base(*loaded, digest=f"{self.model} {self.dtype}"), self.options)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a batch of edits took and gave."""

    seconds: dict[str, float]
    """By phase: statistics, sorting, values, keys, solve."""
    cpu_s: float
    """CPU seconds of all workers, without statistics."""
    proposal: Proposal
    layers: list[int]
    fitted: Statistics
    sizes: list[tuple[int, int]]
    """`Engine.sizes` of the requests."""
    peak_bytes: int
    """Of the worker that held most."""

    @property
    def total_s(self) -> float:
        """Seconds of the edit; statistics are gathered once for a model and do not count."""
        return sum(self.seconds.values()) - self.seconds["statistics"]

    @property
    def steps(self) -> list[int]:
        """Evaluations of the loss, by request; 0 for one set aside."""
        return [report.steps for report in self.proposal.reports]

    @property
    def edited(self) -> int:
        """Requests carried out."""
        return sum(report.status == "edited" for report in self.proposal.reports)

    @property
    def p_targets(self) -> list[float]:
        """exp(-NLL) of the requests carried out, at their values."""
        return [r.p_target for r in self.proposal.reports if r.p_target is not None]


def workers(runner: Runner, make: MakeEngine) -> Call:
    """Tasks go to the runner's workers, with one thread each as the edit stage has them."""
    return lambda tasks: list(runner.map(make, tasks, resources=Resources(num_cpus=1)))


def drive(
    call: Call, requests: Sequence[EditRequest], *, num_workers: int, fitted: Statistics | None
) -> Run:
    """Edit one batch. Workers are loaded before the clock starts."""
    seconds: dict[str, float] = {}

    def clocked(phase: str, tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
        started = time.perf_counter()
        results = call(tasks)
        seconds[phase] = time.perf_counter() - started
        print(f"{phase}: {seconds[phase]:.1f} s", file=sys.stderr, flush=True)
        return results

    call([("ready",)] * num_workers)
    seconds["statistics"] = 0.0
    if fitted is None:
        parts = clocked("statistics", [("fit", part) for part in range(FIT_PARTS)])
        fitted = reduce(Statistics.merge, parts)
    cpu_started = sum(call([("cpu_s",)] * num_workers))
    [work] = clocked("sorting", [("prepare", requests, fitted)])
    found = clocked("values", [("find_values", group, fitted) for group in work.groups])
    values = {key: value for part in found for key, value in part.items()}
    [(proposal, solve_s)] = clocked("keys", [("propose", work, fitted, values)])
    seconds["keys"] -= solve_s
    seconds["solve"] = solve_s
    cpu_s = sum(call([("cpu_s",)] * num_workers)) - cpu_started
    [layers], [sizes] = call([("layers",)]), call([("sizes", requests)])
    peak = max(call([("peak_bytes",)] * num_workers))
    return Run(
        seconds=seconds,
        cpu_s=cpu_s,
        proposal=proposal,
        layers=layers,
        fitted=fitted,
        sizes=sizes,
        peak_bytes=peak,
    )


def statistics_seconds(base: Base, layers: Sequence[int], tokens: int) -> tuple[float, float]:
    """Seconds of the statistics of `layers` in one pass, and of the bare forwards it makes."""
    recorder = _Recorder(base.architecture)
    arguments = {"max_tokens": tokens, "window": 512, "architecture": recorder}
    started = time.perf_counter()
    fit(base.model, base.tokenizer, general_text(), layers, **arguments)
    fitting_s = time.perf_counter() - started
    started = time.perf_counter()
    with torch.no_grad():
        for args, kwargs in recorder.calls:
            base.architecture.hidden(*args, **kwargs)
    return fitting_s, time.perf_counter() - started


class _Recorder:
    """An `Architecture` that remembers what it was asked to run."""

    def __init__(self, architecture: Any) -> None:
        self.architecture = architecture
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.architecture, name)

    def hidden(self, *args: Any, **kwargs: Any) -> Tensor:
        self.calls.append((args, kwargs))
        return self.architecture.hidden(*args, **kwargs)


def general_text() -> list[str]:
    """The paragraphs that statistics are taken on."""
    return TEXT.read_text(encoding="utf-8").split("\n\n")


@contextmanager
def timed(module: Any) -> Iterator[list[float]]:
    """Seconds of every call of a module's functions from outside it."""
    spent: list[float] = []
    inside = False

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:
                return function(*args, **kwargs)
            inside, started = True, _now()
            try:
                return function(*args, **kwargs)
            finally:
                inside = False
                spent.append(_now() - started)

        return run

    own = {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
    }
    try:
        for name, function in own.items():
            setattr(module, name, wrapped(function))
        yield spent
    finally:
        for name, function in own.items():
            setattr(module, name, function)


def _now() -> float:
    """Seconds, once the GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
