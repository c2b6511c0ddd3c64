"""Revert risk: what the service says holds a change, and its silence says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from loopback import QuietHandler, SkippedTime, on_loopback
from trust_helpers import OWN, RISK, assess, change

from discovery.trust.policy import RevertRiskConfig
from discovery.trust.revert_risk import scores, to_rate
from discovery.trust.rules import Finding
from infra.http.client import PoliteClient


def test_revert_risk() -> None:
    """Above the limit held; at it not; unrated is neutral: it lifts no other rule and ranks below
    what was rated safe."""
    assert assess(change(), config=RISK, scores={5: 0.51}).state == "held"
    assert assess(change(), config=RISK, scores={5: 0.5}).state == "eligible"
    unrated, safe = (assess(change(), config=RISK, scores=s) for s in ({}, {5: 0.01}))
    assert unrated.state == "eligible" and "the revision was not rated" in unrated.reasons
    assert unrated.weight < safe.weight
    lone = change(references=())
    assert assess(lone, config=RISK, scores={5: 0.0}).state == "held"
    before = {change().id: [Finding("held", "revert risk", "it was 0.9")]}
    assert assess(change(), config=RISK, lasting=before, anew=False).state == "held"
    assert assess(change(), config=RISK, lasting=before, scores={5: 0.1}).state == "eligible"


@pytest.fixture()
def lift_wing() -> Iterator[tuple[str, list[Any]]]:
    """A service on loopback: rates even revisions, does not know odd ones, is broken at 100."""
    asked: list[Any] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            asked.append((self.path, self.headers["User-Agent"], json.loads(self.rfile.read(size))))
            revision = asked[-1][2]["rev_id"]
            status = 200 if revision % 2 == 0 else 422
            value: Any = {"output": {"probabilities": {"true": revision / 10, "false": 0}}}
            value = [] if revision == 100 else value
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with on_loopback(Handler) as origin:
        yield f"{origin}/lw/", asked


def test_the_service_is_asked_politely_and_what_it_cannot_rate_is_missing(
    lift_wing: tuple[str, list[Any]],
) -> None:
    """Over real HTTP: model and revision are sent, with a contact; errors, answers of another form
    and chances above one are no ratings; a service that is down is left alone, and one that has
    rated others is not taken to be down for revisions that it does not know."""
    endpoint, asked = lift_wing
    config = RevertRiskConfig(endpoint=endpoint, contact="a@b.org")
    with PoliteClient(
        source="risk", contact="a@b.org", rate_limit=SkippedTime().rate_limit(), min_interval_s=0
    ) as client:
        assert scores([2, 3, 4, 12, 100, 6], client, config) == {2: 0.2, 4: 0.4, 6: 0.6}
        path, agent, value = asked[0]
        assert path == "/lw/v1/models/revertrisk-wikidata:predict" and value == {"rev_id": 2}
        assert "a@b.org" in agent
        assert scores([2, 3, 5, 7, 9, 4], client, config) == {2: 0.2, 4: 0.4}
        asked.clear()
        assert scores([1, 3, 5, 2], client, config) == {}
        assert len(asked) == 3
    gone = RevertRiskConfig(endpoint="http://127.0.0.1:9", contact="a@b.org")
    with PoliteClient(
        source="risk", contact="a@b.org", rate_limit=SkippedTime().rate_limit(), min_interval_s=0
    ) as client:
        assert scores([2], client, gone) == {}


def test_only_public_revisions_are_rated_popular_subjects_first() -> None:
    """Each once, up to the number that is allowed."""
    changes = [change(popularity=p, revision_new=r) for p, r in ((1, 5), (9, 6), (3, 5), (2, 7))]
    own = change(source="people", revision_new=8)
    config = RevertRiskConfig(contact="a@b.org", max_revisions=2)
    assert to_rate([*changes, own], {"people": OWN}, config) == [6, 5]
