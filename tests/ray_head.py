"""Ray clusters as `ray start` makes them, on loopback and on free ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

NODE_PORTS = (
    *("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port"),
    *("node-manager-port", "object-manager-port", "runtime-env-agent-port"),
)
"""Options of `ray start` that are ports of any node."""
HEAD_PORTS = ("port", "dashboard-port", "ray-client-server-port")
"""Those of a head."""
START_S = 90.0
"""Longest time, in seconds, for the head to answer."""


@contextmanager
def ray_head(variables: Mapping[str, str] | None = None, *, workers: int = 0) -> Iterator[str]:
    """The address of the Jobs API of a head with two CPUs, which ends with the block.

    variables  of its environment, beside those of this process
    workers    further nodes, each with one CPU
    """
    environment = {name: v for name, v in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", **(variables or {})}
    with (
        tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        log = Path(folder, "started")
        port, dashboard, client = free_ports(len(HEAD_PORTS))
        head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}"]
        head += ["--dashboard-host=127.0.0.1", f"--ray-client-server-port={client}"]
        head += [f"--temp-dir={folder}", "--num-cpus=2", "--disable-usage-stats"]
        process = stack.enter_context(_started(head, environment, log))
        await_dashboard(process, dashboard, log)
        for number in range(workers):
            worker = [f"--address=127.0.0.1:{port}", "--num-cpus=1"]
            stack.enter_context(_started(worker, environment, Path(folder, f"started{number}")))
        yield f"http://127.0.0.1:{dashboard}"


@contextmanager
def _started(
    options: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The process of `ray start` with these options, which ends with the block, and all of its
    own with it."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
    command += ["--node-ip-address=127.0.0.1", f"--object-store-memory={80 << 20}"]
    ports = zip(NODE_PORTS, free_ports(len(NODE_PORTS)), strict=True)
    command += [f"--{name}={port}" for name, port in ports]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)  # with --block, it ends what it has started
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_ports(number: int) -> list[int]:
    """Ports on loopback that nothing listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def await_dashboard(head: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when the dashboard answers; fail with the head's log where it does not."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and head.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=2.0)
        try:
            connection.request("GET", "/api/version")
            connection.getresponse().read()
            return
        except (OSError, HTTPException):
            time.sleep(0.3)
        finally:
            connection.close()
    raise AssertionError(f"no dashboard: {log.read_text()[-2000:]}")
