"""Calls of a MediaWiki's Action API, whose failures come in an HTTP 200 (mediawiki.org *API:Errors
and warnings*, *Manual:Maxlag parameter*)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from infra.errors import AnswerError
from infra.http.client import PoliteClient
from infra.http.faults import UNSURE_TRIES, HostFault
from infra.http.response import Response

MAXLAG_S = 5
"""Seconds of replication lag above which we wait; the value Wikimedia asks bots to use."""
_BUSY_CODES = re.compile(
    "maxlag|ratelimited|concurrency-limit|readonly|cirrussearch-too-busy-error"
    r"|internal_api_error_(?:Wikimedia\\Rdbms\\)?DB\w*"
)
"""Error codes of the Action API that mean: try again later. Those of an exception of the database
have its class behind `internal_api_error_`; some versions its namespace as well."""
_INTERNAL = "internal_api_error_"
"""Beginning of the codes of other exceptions, which one broken entity may cause at every try."""


def call_api(client: PoliteClient, url: str, params: Mapping[str, Any]) -> tuple[Any, Response]:
    """The value and the response of a call, sent with `maxlag`.

    While the servers lag, are busy or fail the call is sent again, after `Retry-After` or at least
    `MAXLAG_S` seconds. Raises AnswerError for another `error` in the answer, else as
    `PoliteClient.get_json`.
    """

    def failed(value: Any, response: Response) -> HostFault | None:
        wait_s = min(response.retry_after_s(client.clock()) or 0.0, client.fetcher.max_wait_s)
        return _fault(client.where(response), _error(value), wait_s)

    fixed = {"format": "json", "formatversion": 2, "maxlag": MAXLAG_S}
    value, response = client.get_json(url, {**params, **fixed}, fault=failed, by_post=True)
    error = _error(value)
    if error:
        raise AnswerError(f"{client.where(response)} refuses: {error}")
    return value, response


def _error(value: Any) -> str | None:
    """Code and text, in one line, of the `error` in an answer, or None."""
    error = value.get("error") if isinstance(value, dict) else None
    if not error or not isinstance(error, dict):
        return None
    return f"{error.get('code')}: {' '.join(str(error.get('info')).split())[:200]}"


def _fault(address: str, error: str | None, wait_s: float) -> HostFault | None:
    """The fault that an error stands for; None where the host is not at fault.

    address  begins the error
    wait_s   seconds to wait at least
    """
    code = (error or "").partition(": ")[0]
    busy = _BUSY_CODES.fullmatch(code) is not None
    if not busy and not code.startswith(_INTERNAL):
        return None
    what = f"{address} answers {error}"
    return HostFault(
        what=what,
        least_s=max(MAXLAG_S, wait_s),
        tries=None if busy else UNSURE_TRIES,
        error=None if busy else AnswerError(f"{what}. Run the same command later to continue."),
    )
