"""The replay server answers as the real API does, out of recordings."""

from pathlib import Path

import pytest
import requests

from discovery.sources.replay.server import ReplayServer
from infra.errors import ConfigError

RECORDING = Path(__file__).parents[4] / "examples" / "recordings" / "wikidata"


@pytest.fixture(scope="module")
def base():
    with ReplayServer(RECORDING) as url:
        yield url


def revisions(base, title, until):
    params = {
        "action": "query",
        "prop": "revisions",
        "titles": title,
        "rvstart": until,
        "rvlimit": "1",
        "rvdir": "older",
    }
    return requests.get(f"{base}/w/api.php", params=params, timeout=5).json()


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2015-02-13T00:11:47Z", None),
        ("2015-02-13T00:11:48Z", 196015688),
        ("2018-07-27T08:03:24Z", 196015688),
        ("2030-01-01T00:00:00Z", 716282445),
    ],
)
def test_revision_at_or_before(base, until, expected):
    """The newest recorded revision that is not after the moment asked for."""
    (page,) = revisions(base, "Q42", until)["query"]["pages"]
    assert ("revisions" in page) == (expected is not None)
    assert expected is None or page["revisions"][0]["revid"] == expected


def test_refuses_what_the_api_refuses(base):
    """Several titles with a limit, more than 50 ids, and unknown actions are errors in HTTP 200."""
    ids = "|".join(f"Q{n}" for n in range(1, 52))
    url = f"{base}/w/api.php"
    answers = [
        revisions(base, "Q42|Q571", "2020-01-01T00:00:00Z"),
        requests.get(url, params={"action": "wbgetentities", "ids": ids}, timeout=5).json(),
        requests.get(url, params={"action": "edit"}, timeout=5).json(),
    ]
    assert all("error" in answer for answer in answers)


def test_absent_things_are_missing(base):
    """An unrecorded title or id carries `missing`; an unrecorded revision is 404."""
    (page,) = revisions(base, "Q1", "2020-01-01T00:00:00Z")["query"]["pages"]
    assert "missing" in page
    params = {"action": "wbgetentities", "ids": "Q84|Q999999"}
    entities = requests.get(f"{base}/w/api.php", params=params, timeout=5).json()["entities"]
    assert "missing" in entities["Q999999"] and "missing" not in entities["Q84"]
    url = f"{base}/wiki/Special:EntityData/Q42.json?revision=1"
    assert requests.get(url, timeout=5).status_code == 404


def test_refuses_a_directory_that_is_no_recording(tmp_path):
    """A wrong directory is a mistake in the config, said in one line."""
    with pytest.raises(ConfigError, match="is not a recording"):
        ReplayServer(tmp_path)
