"""A request to a host, and how its answers are treated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from infra.http.faults import HostFault
from infra.http.response import Response


@dataclass(frozen=True, slots=True)
class Post:
    """A request's parameters as the body of a POST, for an address that would be too long."""

    at: str
    """The address without the parameters."""
    body: bytes
    media_type: str = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Request:
    """An address to request, and how to treat the answers. It changes nothing at the host."""

    url: str
    """The address as configured, which the response is filed under."""
    at: str
    """The address that serves it now."""
    home: str | None
    """URL that the operator configured, whose origin may be at a private address; None for a link
    that a document holds."""
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    """Sent besides the fetcher's headers; of the same names these count."""
    allow: Collection[int] = ()
    """Statuses other than 200 that are returned instead of raised. Not those that stand for a
    fault of the host: these are repeated, and raised if they last."""
    fault: Callable[[Response], HostFault | None] = lambda response: None
    """The fault that a whole response tells of in its body; None if the response is good."""
    posted: bytes | None = None
    """Body of a POST; None sends a GET."""
    as_post: Post | None = None
    """The same request as a POST, sent where the server finds the address too long."""
    setting: str = "endpoint"
    """Name of the setting that holds the address, for errors."""
    cross_host: bool = False
    """Whether redirects to other hosts are followed."""
    obeys_robots: bool = True
    """Whether robots.txt applies, if the fetcher has rules at all; not to a robots.txt itself."""

    def by_post(self) -> Request:
        """The request as a POST. It must have one."""
        assert self.as_post is not None
        headers = {**self.headers, "Content-Type": self.as_post.media_type}
        body = self.as_post.body
        return replace(self, at=self.as_post.at, posted=body, as_post=None, headers=headers)
