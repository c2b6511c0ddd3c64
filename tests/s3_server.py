"""An S3-compatible server on the loopback, in a process of its own: moto's.

Requests are answered one at a time, so that a condition and the write that it allows are one step,
as they are in a store.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

import pytest
import requests

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}
"""What a client reads of its environment, without the endpoint."""
SERVE = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=False)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server that runs while the block does."""
    with Popen([sys.executable, "-c", SERVE], stdout=PIPE, stderr=-3, text=True) as server:
        try:
            assert server.stdout
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new, empty bucket, which this process and those it starts can reach."""
    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    for name in {"AWS_SESSION_TOKEN", "AWS_PROFILE"} & os.environ.keys():
        monkeypatch.delenv(name)
    bucket = f"b{uuid.uuid4().hex}"
    requests.put(f"{endpoint}/{bucket}", timeout=10).raise_for_status()
    return f"s3://{bucket}/work"
