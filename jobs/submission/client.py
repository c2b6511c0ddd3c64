"""The jobs of a Ray cluster: submit, list, follow and cancel them by the cluster's Jobs API.

Every fault is a StageError of one line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from infra.errors import ConfigError, StageError
from infra.execution.ray_pool import first_line
from jobs.submission.files import copy_files
from jobs.submission.submission import FILES, PREFIX, Submission, unpack_wheel

CONNECT_S = 5.0
"""Longest time, in seconds, for the Jobs API to answer the first request."""
LOST_S = 60.0
"""Longest time, in seconds, for which a job that is followed may not be asked after."""
POLL_S = 1.0
"""Seconds between two questions after a job's state."""
STOP_S = 30.0
"""Longest time, in seconds, for a job to end that is cancelled."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
"""States in which a job stays."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the cluster knows it."""

    id: str
    state: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    exit_code: int | None
    """Of its command; None where that has not ended by itself."""
    started: str | None
    """ISO time."""
    ended: str | None
    message: str
    """What the cluster says of its state."""
    metadata: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED


class JobsClient:
    """Asks the Jobs API of one cluster."""

    def __init__(self, address: str) -> None:
        """
        address  http(s) address of the cluster's dashboard, such as http://127.0.0.1:8265

        Raises ConfigError for another kind of address, StageError where no Jobs API answers there,
        or it refuses the token.
        """
        self.address = address.rstrip("/")
        _require_jobs_api(self.address)
        logging.getLogger("ray").setLevel(logging.ERROR)
        for name in ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)
        with self._faults(), _no_other_address(self.address):
            self._client = JobSubmissionClient(self.address)

    def submit(self, submission: Submission, files: Mapping[str, Path]) -> None:
        """Submit a job with the files that it takes with it: relative name -> file.

        Raises StageError where the cluster refuses it, as for an id that it knows already, and
        ConfigError for a wheel that is none.
        """
        with tempfile.TemporaryDirectory(prefix="corrigenda-job-") as folder:
            modules = [Path(folder, FILES)]
            copy_files(files, modules[0])
            if submission.wheel is not None:
                modules += unpack_wheel(submission.wheel, Path(folder, "wheel"))
            environment = {
                **submission.environment,
                "py_modules": [str(module) for module in modules],
            }
            with self._faults():
                self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=submission.id,
                    runtime_env=environment,
                    metadata=dict(submission.metadata),
                )

    def jobs(self) -> list[Job]:
        """Our jobs that the cluster knows, oldest first."""
        with self._faults():
            found = [_job(job) for job in self._client.list_jobs()]
        return sorted(
            (job for job in found if job.id.startswith(PREFIX)), key=lambda job: job.started or ""
        )

    def attempts(self, job_id: str) -> list[Job]:
        """The job of an id and its further attempts, `ID-r1` and so on, in their order."""
        number = re.compile(rf"{re.escape(job_id)}(?:-r(\d+))?")
        found = [(match, job) for job in self.jobs() if (match := number.fullmatch(job.id))]
        return [job for _, job in sorted(found, key=lambda pair: int(pair[0][1] or 0))]

    def job(self, job_id: str) -> Job:
        """One job. Raises StageError where the cluster does not know it."""
        with self._faults():
            return _job(self._client.get_job_info(job_id))

    def follow(self, job_id: str, tell: Callable[[str], None]) -> Job:
        """The job when it has ended; `tell` is given what it prints meanwhile, from its beginning.

        Raises StageError where the cluster cannot be asked for longer than `LOST_S` seconds.
        """
        with suppress(RuntimeError, OSError, aiohttp.ClientError):  # a log that breaks off is lost
            asyncio.run(self._tail(job_id, tell))
        return self._wait(job_id, None)

    def cancel(self, job_id: str) -> Job:
        """End a job, which can finish what it writes; the job when it has ended.

        Raises StageError where the cluster does not know it, and where it does not end within
        `STOP_S` seconds.
        """
        with self._faults():
            self._client.stop_job(job_id)
        return self._wait(job_id, STOP_S)

    async def _tail(self, job_id: str, tell: Callable[[str], None]) -> None:
        """Pass on what a job prints, until it ends."""
        async for text in self._client.tail_job_logs(job_id):
            tell(text)

    def _wait(self, job_id: str, limit_s: float | None) -> Job:
        """The job when it has ended. Raises StageError where it has not within the limit."""
        began = answered = time.monotonic()
        while True:
            try:
                job = self.job(job_id)
                answered = time.monotonic()
            except StageError:
                if time.monotonic() - answered > LOST_S:
                    raise
            else:
                if job.has_ended:
                    return job
                if limit_s is not None and answered - began > limit_s:
                    raise StageError(
                        f"job {job_id} is {job.state} {limit_s:g} s after it was told to end. Ask "
                        "`corrigenda jobs` later."
                    )
            time.sleep(POLL_S)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """A block in which Ray's errors become a StageError of one line."""
        try:
            yield
        except AuthenticationError as error:
            raise StageError(
                f"the cluster at {self.address} refuses the token ({first_line(error).rstrip('.:')}"
                "). Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the "
                "cluster's token of today."
            ) from error
        except (RuntimeError, ValueError, OSError) as error:  # requests raises kinds of OSError
            raise StageError(f"the cluster at {self.address}: {first_line(error)}") from error


def _job(details: Any) -> Job:
    """A job, of Ray's `JobDetails`."""
    return Job(
        id=details.submission_id or details.job_id or "",
        state=getattr(details.status, "value", str(details.status)),
        exit_code=details.driver_exit_code,
        started=_iso(details.start_time),
        ended=_iso(details.end_time),
        message=(details.message or "").strip(),
        metadata=details.metadata or {},
    )


def _iso(milliseconds: int | None) -> str | None:
    """A time in UTC, of milliseconds since 1970; None where there is none."""
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat("T", "seconds")


def _require_jobs_api(address: str) -> None:
    """Raise ConfigError unless the address is one of http or https, and StageError unless Ray's
    dashboard answers there within `CONNECT_S` seconds; one that wants a token is one."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = None, None, None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"--address {address!r} is no http address. Give that of the cluster's dashboard, such "
            "as http://127.0.0.1:8265."
        )
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(host, port, timeout=CONNECT_S)
    try:
        connection.request("GET", f"{parts.path}/api/version")
        answer = connection.getresponse()
        content = answer.read(4096)
    except (OSError, HTTPException, ValueError) as error:
        said = "no answer" if isinstance(error, TimeoutError) else None
        said = said or getattr(error, "strerror", None) or first_line(error)
        raise _nobody(address, said) from error
    finally:
        connection.close()
    if answer.status not in (401, 403) and b"ray_version" not in content:
        raise _nobody(address, "what listens there does not answer as Ray's dashboard")


def _nobody(address: str, said: str) -> StageError:
    """The error for an address at which there is no Jobs API."""
    return StageError(
        f"no Ray Jobs API at {address!r} ({said}). Give the address of the cluster's dashboard, "
        "which `ray start --head` prints, such as http://127.0.0.1:8265."
    )


@contextmanager
def _no_other_address(address: str) -> Iterator[None]:
    """A block in which Ray takes this address, and no other out of the environment."""
    name = "RAY_API_SERVER_ADDRESS"
    before = os.environ.get(name)
    os.environ[name] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
