"""Runs our MEMIT editor as the edit stage does, with the time of each phase.

Each worker holds a model and an editor. Statistics and values are distributed over the workers; one
worker prepares the requests and one solves. No other benchmark module uses the editors' interface.
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
"""Runs tasks in parallel and returns their results in order. A task is the name of a method of
`Engine` and its arguments."""


class Engine:
    """A model and its MEMIT editor, which run one task at a time."""

    def __init__(self, base: Base, options: Mapping[str, Any]) -> None:
        """
        base     the model
        options  settings of MEMIT (`Memit.Config`)
        """
        self.base = base
        self.editor = Memit(validate(Memit.Config, options, "options"))

    def __call__(self, task: tuple[Any, ...]) -> Any:
        """The result of a task: the name of a method, and its arguments."""
        name, *arguments = task
        return getattr(self, name)(*arguments)

    def ready(self) -> None:
        """Do nothing. A worker that returns from this has loaded its model."""

    def layers(self) -> list[int]:
        """The layers that the editor changes."""
        return list(self.editor.layers(self.base.architecture))

    def fit(self, part: int) -> Statistics:
        """The statistics of one part of the general text; `part` is 0 to `FIT_PARTS` - 1."""
        return self.editor.fit(EditorCall(self.base), Corpus(general_text(), (part, FIT_PARTS)))

    def prepare(self, requests: Sequence[EditRequest], fitted: Statistics) -> Work:
        """The requests sorted into groups, and those that are refused set aside."""
        return self.editor.prepare(EditorCall(self.base, fitted), requests)

    def find_values(self, group: Sequence[EditRequest], fitted: Statistics) -> dict[str, Tensor]:
        """Content key -> value, [D + 4] (`Value.pack`), for the requests of one group."""
        return self.editor.find_values(EditorCall(self.base, fitted), group)

    def propose(
        self, work: Work, fitted: Statistics, values: dict[str, Tensor]
    ) -> tuple[Proposal, float]:
        """The delta, and the seconds spent in `editors.local_modification.least_squares`."""
        with timed(least_squares) as spent:
            proposal = self.editor.propose(EditorCall(self.base, fitted, values), work)
        return proposal, sum(spent)

    def sizes(self, requests: Sequence[EditRequest]) -> list[tuple[int, int]]:
        """For each request, two numbers of tokens in one step of the search for its value: those
        from the lookup token on, and those at which a token is predicted.

        Both count all prompts of the request (one for each context) and the prompt for the KL
        term (`essence`).
        """
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
        """Peak memory in bytes: on the GPU if the model is on one, else of the process."""
        if self.base.model.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class MakeEngine:
    """Builds an engine in the worker process."""

    model: Path
    """Directory of the model."""
    dtype: str
    """Name of the torch dtype of the weights."""
    options: Mapping[str, Any]
    """Settings of MEMIT (`Memit.Config`)."""

    def __call__(self) -> Engine:
        loaded = load(self.model, dtype=getattr(torch, self.dtype))
        return Engine(Base(*loaded, digest=f"{self.model} {self.dtype}"), self.options)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result and the cost of one batch of edits."""

    seconds: dict[str, float]
    """Phase (statistics, sorting, values, keys, solve) -> seconds."""
    cpu_s: float
    """CPU seconds of all workers, without the statistics."""
    proposal: Proposal
    """The delta, and a report on each request."""
    layers: list[int]
    """The layers that were changed."""
    fitted: Statistics
    """The statistics of the general text."""
    sizes: list[tuple[int, int]]
    """Numbers of tokens of each request (`Engine.sizes`)."""
    peak_bytes: int
    """Peak memory of the worker that used most."""

    @property
    def total_s(self) -> float:
        """Seconds of the edit, without the statistics, which a model needs only once."""
        return sum(self.seconds.values()) - self.seconds["statistics"]

    @property
    def steps(self) -> list[int]:
        """Number of evaluations of the loss for each request; 0 for a request that was refused."""
        return [report.steps for report in self.proposal.reports]

    @property
    def edited(self) -> int:
        """Number of requests that were carried out."""
        return sum(report.status == "edited" for report in self.proposal.reports)

    @property
    def p_targets(self) -> list[float]:
        """Probability of the target, exp(-NLL), at the found value, for each request that was
        carried out."""
        return [r.p_target for r in self.proposal.reports if r.p_target is not None]


def workers(runner: Runner, make: MakeEngine) -> Call:
    """The function that runs tasks on the runner's workers, which have one thread each as in the
    edit stage."""
    return lambda tasks: list(runner.map(make, tasks, resources=Resources(num_cpus=1)))


def drive(
    call: Call, requests: Sequence[EditRequest], *, num_workers: int, fitted: Statistics | None
) -> Run:
    """Edit one batch and measure each phase, after the workers have loaded their models.

    call         runs the tasks
    num_workers  number of workers behind `call`
    fitted       statistics of an earlier run; None to gather them
    """
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
    """Seconds of gathering the statistics of `layers` in one pass over `tokens` tokens, and seconds
    of the same forward passes alone."""
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
    """An `Architecture` that records the arguments of its forward passes."""

    def __init__(self, architecture: Any) -> None:
        self.architecture = architecture
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.architecture, name)

    def hidden(self, *args: Any, **kwargs: Any) -> Tensor:
        """The architecture's own result; the arguments are appended to `calls`."""
        self.calls.append((args, kwargs))
        return self.architecture.hidden(*args, **kwargs)


def general_text() -> list[str]:
    """The paragraphs of the general text, of which statistics are gathered."""
    return TEXT.read_text(encoding="utf-8").split("\n\n")


@contextmanager
def timed(module: Any) -> Iterator[list[float]]:
    """Context in which the functions of a module are timed.

    Yields a list that gets the seconds of each call; calls from one function of the module to
    another are not counted again.
    """
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
    """The time in seconds, after the GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
