"""Whose fault a failed request is, and whether it may be sent again.

All requests of ours change nothing: they are GETs, and queries sent by POST. So every one may be
sent again where the host is at fault: a gateway, a database or an overloaded server says so by its
status (RFC 9110 section 15.6; 520-524 are Cloudflare's; 529, 598 and 599 are used by convention) or
inside of an HTTP 200, or the connection breaks. What the request itself is at fault for is not
repeated, and an error says what to do about it.
"""

from __future__ import annotations

import random
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from infra.errors import AnswerError, HostError, RefusedError, SourceError

BUSY = frozenset({429, 503})
"""Statuses that mean: try again later."""
FAILING = BUSY | {408, 425, 500, 502, 504, 520, 521, 522, 523, 524, 529, 598, 599}
"""Statuses by which a host says that it, and not the request, is at fault."""
_ABOUT_US = frozenset({401, 403, 407, 451, 511})
"""Statuses by which a host refuses a client, whatever it asks for."""
UNSURE_TRIES = 3
"""Tries of a request where host or request may be at fault: an answer that cannot be read, a host
that was never reached, a query that runs out of time."""
BACKOFF_S = 5.0
"""Seconds of the first pause for a host that names no time; doubled at each further try."""
MAX_BACKOFF_S = 300.0
"""Seconds of the longest such pause; a server may ask for a longer one."""
BREAK_PAUSE_S, BREAK_GROWTH = 0.2, 5.0
"""Seconds of the pause after the first broken connection, which may only have been kept open for
too long, and how many times longer each further pause is: five pauses take as long as those of
`BACKOFF_S`."""

_EXCEPTION = re.compile(
    rb"(?:(?:[\w$]{1,80}\.){1,12}\w{0,80}(?:Exception|Error)\b"
    rb"|An error has occurred while exporting)[^\r\n<]{0,160}"
)
_TOO_LONG = re.compile(rb"\btoo (?:long|large|big)\b", re.IGNORECASE)

STREAM_TYPE = "text/event-stream"
"""Media type of server-sent events."""
_ADVICE = {
    401: "It wants a login, or another one: give it in SETTING by reference, as "
    "https://NAME:${PASSWORD}@HOST or ?token=${TOKEN}, and check what the variable holds.",
    403: "It refuses this client: check what SETTING gives by reference (https://NAME:${PASSWORD}@"
    "HOST, ?token=${TOKEN}), and that `contact` names you; else ask its operator.",
    404: "It has nothing there: check SETTING and the id.",
    407: "The proxy wants a login: give it in the environment variable HTTPS_PROXY.",
    410: "It is gone for good: take it out of SETTING.",
    413: "The request is too large for it: ask for less at a time.",
    414: "The request is too long for it, and it takes no POST: ask for less at a time.",
    431: "The request is too long for it, and it takes no POST: ask for less at a time.",
    451: "It is withheld for legal reasons: take it out of SETTING.",
    511: "A network in between wants a login: log in to it, then run the same command again.",
}
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
"""Errors of name resolution that say that a name does not exist, or has no address."""


class ConnectionBroken(Exception):
    """The host could not be reached, or the connection broke; another try may succeed."""


class BodyUnreadable(ConnectionBroken):
    """The whole body came, and it is not in the format that its headers name."""


class ReadTimeout(ConnectionBroken):
    """The server sent nothing for longer than the time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFault:
    """A failed try of a request that may be sent again."""

    what: str
    """What happened, as a clause that names the address."""
    wait_s: float | None = None
    """Seconds that the host asks to wait; None where it names no time."""
    least_s: float = 0.0
    """Seconds of the pause at least, where the host names no time."""
    tries: int | None = None
    """Tries of the request at most; None is as many as the client allows."""
    broken: bool = False
    """Whether the connection broke; then the first pauses are short."""
    status: int | None = None
    """HTTP status; None where no answer came, or one that cannot be used."""
    error: SourceError | None = None
    """What is raised if the fault lasts; None for the error that `lasting` makes."""

    def pause_s(self, attempt: int) -> float:
        """Seconds to pause after try number `attempt` (0 is the first)."""
        if self.wait_s is not None:
            return self.wait_s
        if self.broken:
            return min(MAX_BACKOFF_S, BREAK_PAUSE_S * BREAK_GROWTH**attempt)
        return max(self.least_s, backoff_s(attempt))

    def lasting(self, num_tries: int, seconds: float) -> SourceError:
        """The error for a fault that was there at every try.

        seconds  from the first try to the last
        """
        if self.error is not None:
            return self.error
        tries = f"{num_tries} tr{'y' if num_tries == 1 else 'ies'} in {seconds:.0f} s"
        again = "run the same command later to continue; what was fetched before is kept"
        if self.status in BUSY:
            return HostError(f"{self.what}: it was still too busy after {tries}. So {again}.")
        return HostError(
            f"{self.what}, the last of {tries}. The server is at fault, not the address: {again}."
        )


def backoff_s(attempt: int) -> float:
    """Seconds to pause after try number `attempt` (0 is the first), with up to a quarter added at
    random, so that several crawlers do not come back at once."""
    return min(MAX_BACKOFF_S, BACKOFF_S * 2**attempt) * random.uniform(1.0, 1.25)


def fault_of_status(
    address: str, status: int, body: bytes, wait_s: float | None
) -> HostFault | None:
    """The fault that a status stands for; None where the host is not at fault.

    address  for the error
    body     the start of what came; a query that ran out of time is told by its exception
    wait_s   seconds of `Retry-After`, or None
    """
    if status not in FAILING:
        return None
    excerpt = excerpt_of(body)
    what = f"{address} answers HTTP {status}" + (f" ({excerpt})" if excerpt else "")
    tries = UNSURE_TRIES if "TimeoutException" in excerpt else None
    return HostFault(what=what, wait_s=wait_s, tries=tries, status=status)


def fault_of_stream(address: str, status: int, media_type: str) -> HostFault | None:
    """The fault of a response that should be an event stream and is another document, or None."""
    if status != 200 or media_type == STREAM_TYPE:
        return None
    what = f"{address} answers HTTP 200 and {media_type or 'no type'}"
    error = SourceError(f"{what} instead of an event stream. Check the address.")
    return HostFault(what=what, tries=UNSURE_TRIES, broken=True, error=error)


def fault_of_break(error: ConnectionBroken, *, reached: bool) -> HostFault:
    """The fault of a connection that broke.

    reached  whether the host answered an earlier request; a host that never did may not exist
    """
    if isinstance(error, BodyUnreadable):
        advice = "Run the same command again to continue."
        final: SourceError | None = AnswerError(f"{error}. {advice}")
    else:
        advice = "Check the address and the network; run the same command again to continue."
        final = None if reached else HostError(f"{error}. {advice}")
    tries = None if final is None else UNSURE_TRIES
    return HostFault(what=str(error), tries=tries, broken=True, error=final)


def fault_of_address(error: BaseException) -> str | None:
    """Why no request to this address can succeed; None where another try may.

    A name that is not known now (EAI_AGAIN) may be known later, and a TLS connection that ends
    early is a broken one.
    """
    for cause in _chain(error):
        if isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME:
            return "there is no host of that name"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid ({cause.verify_message.rstrip('.')})"
        reason = str(getattr(cause, "reason", None) or "EOF")
        if isinstance(cause, ssl.SSLError) and "EOF" not in reason:
            return f"no secure connection can be made ({reason})"
    return None


def refusal(address: str, status: int, excerpt: str, setting: str) -> SourceError:
    """The error for a status that the host is not at fault for: RefusedError where the request is,
    and not who sends it.

    setting  name of the setting that holds the address
    """
    kind = SourceError if status in _ABOUT_US else RefusedError
    return kind(f"{address} answers HTTP {status} ({excerpt}). {advice(status, setting)}")


def advice(status: int, setting: str) -> str:
    """What to do about a status that the host is not at fault for, in a sentence."""
    return _ADVICE.get(status, "Check SETTING and the id.").replace("SETTING", f"`{setting}`")


def is_too_long(status: int, body: bytes) -> bool:
    """Whether a server refuses an address for its length: by RFC 9110 section 15.5.15, RFC 6585
    section 5, or in the words of servers that answer 400 (nginx, Tomcat) or 404 (IIS)."""
    return status in (414, 431) or (status in (400, 404) and bool(_TOO_LONG.search(body[:4096])))


def excerpt_of(body: bytes) -> str:
    """What a body says, on one line, for errors: the exception that a query service names, since
    such an answer begins with the query; else the start of the body. Empty for no text."""
    return exception_in(body) or _line(body[:400], 80)


def exception_in(body: bytes) -> str:
    """The first exception of a Java server that a body names near its start or its end, or the
    words by which QLever ends a result that it cannot finish; empty where there is none."""
    found = _EXCEPTION.search(body[:8192]) or _EXCEPTION.search(body[-8192:])
    return _line(found[0], 160) if found else ""


def _line(text: bytes, max_chars: int) -> str:
    """Bytes as one line of text."""
    return " ".join(text.decode("utf-8", "replace").split())[:max_chars]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those it was made from: requests and urllib3 keep some as an argument."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            kept = (cause.__cause__, getattr(cause, "reason", None), *cause.args)
            waiting += [part for part in kept if isinstance(part, BaseException)]
