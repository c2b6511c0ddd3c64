"""Whether a Ray cluster answers at an address, said within seconds."""

from __future__ import annotations

import os
import socket
from typing import Any

from infra.errors import StageError

CONNECT_S = 5.0
"""Longest time, in seconds, for each step: to accept a connection, and to answer as Ray does."""
CLIENT = "ray://"
"""Begins the address of a Ray Client server, through which a cluster is reached from outside."""


def require_reachable(address: str) -> str:
    """The address of a cluster that answers: as it was given, and that of Ray's own for `auto`.

    address  `host:port`, `ray://host:port`, or `auto` for the cluster of the variable RAY_ADDRESS,
             else for the one that runs on this machine. An address of another scheme belongs to a
             plugin of Ray and is not looked at

    Raises StageError within twice `CONNECT_S` seconds where nothing listens there, or something
    that is not Ray.
    """
    place = _place(address)
    if place == "local" or ("://" in place and not place.startswith(CLIENT)):
        return place
    host, _, port = place.removeprefix(CLIENT).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise no_ray(address, f"{place!r} is not host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else str(error)
        raise no_ray(address, getattr(error, "strerror", None) or reason) from error
    _require_ray(address, f"{host}:{port}", client=place.startswith(CLIENT))
    return place


def no_ray(address: str, reason: str) -> StageError:
    """The error for an address at which there is no Ray; the reason is at most one line."""
    return StageError(
        f"no Ray at {address!r} ({reason}). Give the address of a running cluster (host:port), "
        "`local` to start one here, or `none` to run in this process."
    )


def _place(address: str) -> str:
    """What `auto` stands for, as Ray resolves it; any other address is itself."""
    if address != "auto":
        return address
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        return canonicalize_bootstrap_address_or_die("auto")
    except (ConnectionError, ValueError) as error:
        raise no_ray(address, "no cluster is known there") from error


def _require_ray(address: str, place: str, *, client: bool) -> None:
    """Raise StageError unless the server speaks gRPC, and, but for a Ray Client server, as the
    head of a cluster does. A head that wants a token is one."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    messages: Any = gcs_service_pb2
    channel: Any = init_grpc_channel(place)
    try:
        if client:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_S)
        else:
            head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
            head.CheckAlive(messages.CheckAliveRequest(), timeout=CONNECT_S)
    except (grpc.RpcError, grpc.FutureTimeoutError) as error:
        code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.DEADLINE_EXCEEDED
        if code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            raise no_ray(address, "what listens there does not answer as Ray") from error
    finally:
        channel.close()
