"""Measures a run while it works, exports what it measured, and writes its log."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from infra.display import say
from infra.errors import GateError, reason
from infra.execution.runner import Runner
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import PROGRESS, read_progress
from infra.storage.workspace import Workspace
from infra.telemetry import metrics
from infra.telemetry.metrics import Exporter, Registry
from infra.telemetry.text_file import TextFile
from jobs.telemetry.json_log import JsonLog
from pipeline.config import Config
from pipeline.queries.measurements import measure_disk, measure_output, measure_releases
from pipeline.run import edition_of

EVERY_S = 5.0
"""Seconds between two exports."""
BEFORE = "preflight"
"""What a run does before its first stage."""


class RunTelemetry:
    """Follows a run by what it is told and by the progress files. A context manager around it.

    Whatever goes wrong in here is said once, and the run goes on.
    """

    def __init__(
        self,
        workspace: Workspace,
        line: str,
        runner: Runner,
        *,
        exporters: Sequence[Exporter] = (),
        log: JsonLog | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        """
        workspace  where the run writes its outputs and progress files
        line       the model line of the run
        runner     runs the stages; its workers count
        exporters  where the metrics go
        log        the log; None writes none
        every_s    seconds between two exports
        """
        self.workspace, self.line, self.runner = workspace, line, runner
        self.exporters, self.log, self.every_s = list(exporters), log, every_s
        self.registry = Registry()
        self._stage, self._version = BEFORE, ""
        self._phase = ""
        self._lock = threading.RLock()
        """Held to measure and to end a stage, so that no progress follows the end."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._stack = ExitStack()

    @classmethod
    def of(cls, config: Config, workspace: Workspace, runner: Runner) -> RunTelemetry:
        """That of a run of a config: its metrics go to Ray, where the run is on Ray, and to the
        files that the config names."""
        exporters: list[Exporter] = []
        if runner.name == "ray":
            from infra.telemetry.ray_metrics import RayMetrics  # slow to import

            exporters.append(RayMetrics())
        files = config.telemetry
        if files.file is not None:
            exporters.append(TextFile(workspace.root / Path(files.file).expanduser()))
        log = None
        if files.log is not None:
            log = JsonLog(workspace.root / Path(files.log).expanduser(), config.line)
        return cls(workspace, config.line, runner, exporters=exporters, log=log)

    def __enter__(self) -> RunTelemetry:
        if self.log:
            self._stack.enter_context(self.log.attached())
            self.log.write("run began", runner=self.runner.name, workspace=str(self.workspace.root))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        measure_releases(self.registry, self.workspace, self.line)
        self.measure()
        if self.log:
            self.log.write("run ended", error=kind and kind.__name__.lstrip("_"))
        self._stack.close()

    def begin(self, stage: str, version: str) -> None:
        """A stage begins, so what was before it has not failed."""
        with self._lock:
            self.registry.set(metrics.STAGE_FAILED, 0, self._stage)
            if edition_of(version) != edition_of(self._version):
                measure_releases(self.registry, self.workspace, self.line)
            self._stage, self._version, self._phase = stage, version, ""
        if self.log:
            edition = edition_of(version)
            self.log.context |= {"edition": edition, "stage": stage, "version": version}
            self.log.write("stage began")

    def tell(self, line: str) -> None:
        """A line about the present stage."""
        if self.log:
            self.log.write("told", text=line)

    def end(self, artifact: Artifact) -> None:
        """A stage has its output."""
        with self._lock:
            self._end_phase()
            self.registry.set(metrics.STAGE_FAILED, 0, self._stage)
            measure_output(self.registry, artifact)
        if self.log:
            self.log.write(
                "stage ended",
                made_now=artifact.made_now,
                duration_s=artifact.record["duration_s"],
                counts=artifact.counts,
                digest=artifact.digest,
            )

    def fail(self, error: Exception) -> None:
        """The run ends with an error; that of a gate is told by the gate's own metrics."""
        with self._lock:
            if not isinstance(error, GateError):
                self.registry.set(metrics.STAGE_FAILED, 1, self._stage)
        if self.log:
            self.log.write("run failed", level="error", kind=type(error).__name__, text=str(error))

    def measure(self) -> None:
        """Measure how far the run is, and export all metrics."""
        with self._lock:
            for metric, labels, number in self.runner.counted():
                self.registry.add(metric, number, *labels)
            self._measure_progress()
            measure_disk(self.registry, self.workspace)
            samples = self.registry.samples()
        for exporter in [*self.exporters]:
            try:
                exporter.export(self.line, samples)
            except Exception as error:  # of a library too: a run does not end by being watched
                self.exporters.remove(exporter)
                say(f"telemetry: {reason(error)}. The run goes on.", file=sys.stderr)

    def _measure_progress(self) -> None:
        """Take over the progress file of the present stage, if it has one."""
        if self._stage == BEFORE:
            return
        directory = self.workspace.partial(self._stage, self._version)
        state = read_progress(directory / PROGRESS)
        if state is None:
            return
        phase = state["text"].partition(",")[0]
        if phase != self._phase:
            self._end_phase()
            self._phase = phase
        at = self._stage, phase
        self.registry.set(metrics.TASKS_DONE, state["done"], *at)
        self.registry.set(metrics.TASKS_WAITING, state["total"] - state["done"], *at)
        if "loss" in state.get("figures", {}):
            self.registry.set(metrics.EDIT_LOSS, state["figures"]["loss"])

    def _end_phase(self) -> None:
        """The phase is over: nothing of it waits."""
        if self._phase:
            self.registry.set(metrics.TASKS_WAITING, 0, self._stage, self._phase)
            self._phase = ""

    def _watch(self) -> None:
        while not self._stopped.wait(self.every_s):
            self.measure()
