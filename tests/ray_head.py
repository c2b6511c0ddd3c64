"""A Ray head with its dashboard, as `ray start --head` makes it, on loopback and on free ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException

PORTS = (
    *("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port"),
    *("metrics-export-port", "ray-client-server-port", "node-manager-port"),
    *("object-manager-port", "runtime-env-agent-port"),
)
"""Options of `ray start` that are ports."""
START_S = 90.0
"""Longest time, in seconds, for the head to answer."""


@contextmanager
def ray_head(variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of the Jobs API of a head with two CPUs, which ends with the block.

    variables  of its environment, beside those of this process
    """
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    environment = {name: v for name, v in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", **(variables or {})}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
        command += ["--num-cpus=2", f"--object-store-memory={80 << 20}", f"--temp-dir={folder}"]
        command += ["--disable-usage-stats", *(f"--{name}={port}" for name, port in ports.items())]
        with open(f"{folder}/started", "w+") as log:
            head = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                await_dashboard(head, ports["dashboard-port"], f"{folder}/started")
                yield f"http://127.0.0.1:{ports['dashboard-port']}"
            finally:
                head.send_signal(signal.SIGTERM)  # --block ends its processes then
                try:
                    head.wait(20.0)
                except subprocess.TimeoutExpired:
                    os.killpg(head.pid, signal.SIGKILL)
                    head.wait()


def free_ports(number: int) -> list[int]:
    """Ports on loopback that nothing listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def await_dashboard(head: subprocess.Popen[bytes], port: int, log: str) -> None:
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
    with open(log) as file:
        raise AssertionError(f"no dashboard: {file.read()[-2000:]}")
