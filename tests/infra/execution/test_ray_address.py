"""An address at which there is no Ray is one line within seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from infra.errors import StageError
from infra.execution import ray_address
from infra.execution.ray_address import require_reachable
from infra.execution.ray_runner import runner_at

HTTP_ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """The address of a socket that accepts, and sends an answer, or nothing, to whoever asks."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # the server is closed
                while True:
                    asked, _ = server.accept()
                    with asked, suppress(OSError):  # who asked has gone
                        asked.settimeout(3.0)
                        while asked.recv(4096) and answer is None:
                            pass
                        asked.sendall(answer or b"")

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("ray://127.0.0.1:1", "Connection refused"),
        ("[::1]:1", ""),
        ("nohost.invalid:6379", ""),
        ("127.0.0.1", "is not host:port"),
        ("127.0.0.1:99999", "is not host:port"),
        ("127.0.0.1:-1", "is not host:port"),
        (":6379", "is not host:port"),
        ("h" * 300 + ":1", ""),
        ("two\nlines:1", ""),
        ("http://127.0.0.1:1", "Invalid Ray address"),
        ("unknown_scheme://127.0.0.1:1", ""),
    ],
)
def test_nothing_there(address: str, reason: str) -> None:
    """One line with the address, the reason and the choices, from the runner itself."""
    with pytest.raises(StageError, match="no Ray at") as told, runner_at(address):
        pass
    assert reason in str(told.value) and "`none`" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("answer", [HTTP_ANSWER, None], ids=["http", "silent"])
def test_something_else_there(
    scheme: str, answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web server and a socket that says nothing are not taken for Ray, and not waited for."""
    monkeypatch.setattr(ray_address, "CONNECT_S", 0.5)
    with listening(answer) as place, pytest.raises(StageError, match="does not answer as Ray"):
        require_reachable(scheme + place)


def test_auto_is_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray itself reads it; `local` there starts Ray here."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(StageError, match=r"no Ray at 'auto' \(Connection refused\)"):
        require_reachable("auto")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert require_reachable("auto") == "local"
