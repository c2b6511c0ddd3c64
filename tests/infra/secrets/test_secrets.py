"""Secrets in settings are named or hidden, and found in every encoding."""

import base64
import html
import json
import traceback
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.sources.tabular.sql_config import SqlConfig
from discovery.sources.web.config import FeedConfig
from infra.errors import ConfigError, SourceError
from infra.http.addresses import origin_of, shown
from infra.http.private import PrivateAddresses
from infra.secrets.masks import mask_message, public_link
from infra.secrets.scrubber import Known, Scrubber
from infra.settings import validate

ENCODINGS = {
    "plain": str,
    "percent": quote,
    "all percent": lambda text: quote(text, safe=""),
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "repr": repr,
    "HTML": html.escape,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
}


def feed(*addresses: str) -> FeedConfig:
    return FeedConfig(name="news", relations=("P108",), feeds=addresses)


@given(st.text(st.characters(codec="utf-8"), min_size=8, max_size=30))
def test_a_secret_is_found_in_every_encoding(value):
    """In messages and in content; and a text without it stays as it is."""
    scrubber = Scrubber((Known("$KEY", value),))
    for name, encode in ENCODINGS.items():
        said = f"<<{encode(value)}>>"
        assert "$KEY" in scrubber.text(said), name
        assert b"$KEY" in scrubber.content(said.encode()), name
    assert scrubber.text("nothing") == "nothing" or value in "nothing"


def test_a_short_secret_is_a_word():
    """It is found where it stands alone, and not inside of other words or in content."""
    scrubber = Scrubber((Known("$PIN", "ada1"),))
    assert scrubber.text("ada1 and canada12") == "$PIN and canada12"
    assert scrubber.content(b"ada1") == b"ada1"


def test_addresses_are_written_without_secrets():
    """User info and every value of a parameter are hidden; two addresses that differ stay apart,
    and are requested as they were given."""
    given_ = tuple(
        f"https://{login}@e.org/feed?{query}"
        for login in ("ada:pass-one", "ada:pass-two", "lone-token")
        for query in ("id=1", "id=2", "token=a", "token=b", "bare")
    )
    config = feed(*given_)
    assert len(set(config.feeds)) == len(given_)
    filled = config.filled("s")
    assert list(filled.addresses.values()) == list(given_)
    private = PrivateAddresses(filled.addresses, filled.scrubber)
    assert [private.at(written) for written in config.feeds] == list(given_)
    assert [private.shown(real) for real in given_] == [shown(written) for written in config.feeds]
    assert len(set(config.identity()["feeds"])) == len(given_)
    for secret in ("pass-one", "pass-two", "lone-token", "=a", "=b", "id=1", "bare"):
        assert secret not in "".join(config.feeds) + repr(config) + config.model_dump_json()


def test_a_changed_secret_changes_no_identity(monkeypatch, tmp_path):
    """Neither one that is named, nor one that stands in the config; another value does."""
    assert (
        feed("https://u:one@e.org/?key=1").identity() == feed("https://u:2@e.org/?key=2").identity()
    )
    assert feed("https://e.org/?id=1").identity() != feed("https://e.org/?id=2").identity()
    assert feed("https://e.org/?id=1").identity()["feeds"] == ["https://e.org/?id=1"]
    named = []
    (tmp_path / "key").write_text("in a file\n")
    for value in ("p@ss/w&rd", "other"):
        monkeypatch.setenv("PW", value)
        config = feed("https://me:$PW@e.org/?k=${PW}&f=${file:" + str(tmp_path / "key") + "}")
        named.append(config.filled("s"))
    assert named[0].identity() == named[1].identity() == config.identity()
    (real,) = named[0].addresses.values()
    assert real == "https://me:p%40ss%2Fw%26rd@e.org/?k=p%40ss%2Fw%26rd&f=in%20a%20file"
    filed = feed("https://me:${file:" + str(tmp_path / "key") + "}@e.org/a/b@c?x=1").filled("s")
    assert list(filed.addresses.values()) == ["https://me:in%20a%20file@e.org/a/b@c?x=1"]
    assert filed.origin == "https://e.org" and origin_of(filed.configured[0]) == "https://e.org"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("${NOT_SET_ANYWHERE}", "variable NOT_SET_ANYWHERE is not set"),
        ("${file:/no/such/file}", "/no/such/file: No such file"),
        ("${file:relative}", "its path is not absolute"),
    ],
)
def test_a_secret_that_is_missing_is_one_line(reference, reason):
    """It names the setting and the source."""
    with pytest.raises(ConfigError, match=f"source news: .*{reason}.*`feeds`"):
        feed(f"https://e.org/?k={reference}").filled("source news")


def test_arguments_and_queries():
    """Arguments of any depth are hidden where they do not say where a database is; a query, in its
    connection strings, addresses and comparisons. The driver gets all as it was given."""
    arguments = {
        "host": "db.example.org",
        "port": 5432,
        "auth": "CANARY",
        "api_key": 12345,
        "options": {"password": "CANARY", "role": "reader", "x": ["CANARY-longer", "$PW"]},
    }
    query = (
        "SELECT * FROM scan('host=h password=CANARY', 't') WHERE token = 'CANARY' "
        "AND u <> 'https://me:CANARY@e.org/?sig=CANARY&page=2' AND id = 5"
    )
    config = SqlConfig(name="d", module="m", arguments=arguments, query=query, key="id")
    assert "CANARY" not in config.model_dump_json() + repr(config) and "12345" not in repr(config)
    assert config.arguments["options"]["role"] == "reader" and config.arguments["port"] == 5432
    assert config.query.endswith("page=2' AND id = 5")
    assert config.real("arguments") == arguments and config.real("query") == query
    other = SqlConfig(
        name="d", module="m", arguments=arguments, query=query.replace("id = 5", "id = 6"), key="id"
    )
    assert other.identity() != config.identity()


def test_only_configured_hosts_get_secrets(monkeypatch):
    """A link to another host, or one that only begins alike, is requested as it stands."""
    monkeypatch.setenv("PW", "CANARY-12345")
    config = feed("https://me:${PW}@e.org/feed?k=${PW}").filled("s")
    addresses = PrivateAddresses(config.addresses, config.scrubber)
    (written,) = config.feeds
    assert addresses.at(written) == "https://me:CANARY-12345@e.org/feed?k=CANARY-12345"
    assert (
        addresses.at("https://e.org/a?k=${PW}") == "https://me:CANARY-12345@e.org/a?k=CANARY-12345"
    )
    for url in ("https://e.org.evil.com/${PW}", "https://evil.com/?x=${PW}", "http://e.org/${PW}"):
        assert addresses.at(url) == url
    assert "CANARY" not in addresses.shown(addresses.at(written))


def test_errors_lose_secrets_and_causes():
    """Whatever class they are of; an error without a secret is raised as it is."""
    scrubber = Scrubber((Known("$PW", "CANARY-12345"),))
    for error, kind in (
        (SourceError("CANARY-12345"), SourceError),
        (KeyError("CANARY-12345"), SourceError),
    ):
        with pytest.raises(kind) as caught, scrubber.guarded():
            try:
                raise ValueError("CANARY-12345")
            except ValueError as cause:
                raise error from cause
        assert "CANARY" not in "".join(traceback.format_exception(caught.value)).replace(
            '"CANARY-12345"', ""
        )
    with pytest.raises(ZeroDivisionError), scrubber.guarded():
        _ = 1 / 0


def test_links_and_messages():
    """Public links keep what says what they lead to; a message loses what has a secret's name."""
    assert public_link("https://u:p@e.org/?title=Ada&X-Amz-Signature=abc&author=B") == (
        "https://e.org/?title=Ada&X-Amz-Signature=***&author=B"
    )
    said = mask_message("connect to postgres://u:CANARY@h/db or password=CANARY, me:CANARY@host")
    assert "CANARY" not in said
    plain = "set RAY_AUTH_MODE=token. Give host:port, or a@b.org; write key=value"
    assert mask_message(plain) == plain


@pytest.mark.parametrize(
    "wrong",
    [
        {"feeds": ["ftp://me:CANARY@e.org"]},
        {"feeds": ["me:CANARY@e.org"]},
        {"feeds": "https://e.org/?token=CANARY"},
        {"feeds": [{"password": "CANARY"}]},
    ],
)
def test_a_refused_setting_is_not_repeated(wrong):
    """The error of a wrong setting shows it without its secret."""
    with pytest.raises(ConfigError) as caught:
        validate(FeedConfig, {"name": "news", "relations": ["P108"], **wrong}, "config")
    assert "CANARY" not in str(caught.value)
