"""A secret planted in every place that takes one, in runs as far as a release and in every command,
whether the hosts answer, refuse or fail: it is written and printed nowhere."""

from __future__ import annotations

import base64
import json
import sqlite3
import ssl
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dump_helpers import item
from loopback import QuietHandler, on_loopback
from worlds import TEMPLATE

PLACES = (
    *("feed password", "feed token", "literal password", "literal code", "literal sig"),
    *("page key", "site password", "query token", "statement", "risk password"),
    *("argument", "nested", "header", "dsn", "driver", "connection string", "literal argument"),
)
"""Where a secret is planted."""
CANARIES = {
    place: f"CANARY{n:02}/k@y&{place.title().replace(' ', '')}" for n, place in enumerate(PLACES)
}
"""Place -> its secret, which every encoding changes."""
RATED = {"output": {"probabilities": {"true": 0.1, "false": 0.9}}}


def quoted(place: str) -> str:
    return quote(CANARIES[place], safe="")


def leaks(content: bytes) -> list[str]:
    """Places whose secrets are in some bytes: plain, quoted, as JSON, in base64 or hexadecimal."""
    found = []
    for place, secret in CANARIES.items():
        forms = {secret, quote(secret), quoted(place), json.dumps(secret)[1:-1], secret[:8]}
        forms |= {
            base64.b64encode(text.encode()).decode()[:20] for text in (secret, f"me:{secret}")
        }
        forms |= {secret.encode().hex()}
        found += [place for form in forms if form.encode() in content]
    return found


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a directory: its name and bytes, what is packed in it too."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.name.encode() + path.read_bytes()
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                yield path, repr([table.schema.metadata, table.to_pylist()]).encode()
            elif zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as packed:
                    yield path, b"".join(map(packed.read, packed.namelist()))


class Host(QuietHandler):
    """A feed, a page, a Wikibase, a SPARQL endpoint and a service of ratings, each for whoever has
    its secret. It repeats what it was sent in all that it answers."""

    status = 0
    """What every request is answered with; 0 for an answer."""
    asked: list[tuple[str, int]] = []  # noqa: RUF012
    """Path and status of each request."""

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        sent = self.rfile.read(length).decode()
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query + "&" + sent).items()}
        login = self.headers.get("Authorization", "").removeprefix("Basic ")
        password = base64.b64decode(login).decode().partition(":")[2]
        said = f"{password} {self.path} {login} {sent}"
        good, kind, body = True, "text/xml", ""
        if parts.path in ("/feed", "/literal"):
            names = ("feed password", "feed token") if parts.path == "/feed" else (
                "literal password", "literal sig")  # fmt: skip
            key = query.get("token" if parts.path == "/feed" else "sig")
            good = (password, key) == tuple(CANARIES[name] for name in names)
            good = good and (parts.path == "/feed" or query["code"] == CANARIES["literal code"])
            body = _rss(f"http://{self.headers['Host']}{self.path}", said)
        elif parts.path == "/page":
            kind = "text/html"
            good = query.get("key") == CANARIES["page key"]
            filling = "".join(f"<p>Paragraph {n} of a text about nothing.</p>" for n in range(8))
            body = f"<html><body><article><p>{quote(said)}</p>{filling}</article></body></html>"
        elif parts.path == "/sparql":
            good = query.get("token") == CANARIES["query token"]
            good = good and CANARIES["statement"] in query.get("query", "")
            found = {"item": {"type": "uri", "value": "http://www.wikidata.org/entity/Q42"}}
            value = {"head": {"vars": ["item"], "x": said}, "results": {"bindings": [found]}}
            kind, body = "application/json", json.dumps(value)
        elif parts.path == "/w/api.php" or "EntityData" in parts.path:
            good = password == CANARIES["site password"]
            kind, body = "application/json", json.dumps(_wikibase(parts.path, query, said))
        elif parts.path.endswith(":predict"):
            good = password == CANARIES["risk password"]
            kind, body = "application/json", json.dumps({**RATED, "x": said})
        status = self.status or (200 if good else 401)
        if parts.path == "/robots.txt":
            status, body = 200, f"# {said}"
        elif status != 200:
            body = f"refused: {said} {quote(said)} {base64.b64encode(said.encode()).decode()}"
        self.asked.append((parts.path, status))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", '"1"')
        self.send_header("Set-Cookie", f"k={quote(said)}")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET


def _rss(link: str, said: str) -> str:
    said = said.replace("&", "&amp;")
    return (
        f'<rss version="2.0"><channel><title>t</title><item><title>News</title><guid>1</guid><link>'
        f"{link.replace('&', '&amp;')}</link><description>Ada Lovelace works for the Navy. {said}"
        "</description></item></channel></rss>"
    )


def _wikibase(path: str, query: dict[str, str], said: str) -> Any:
    """The API of a Wikibase with one item."""
    now = {"lastrevid": 7, "modified": "2015-01-01T00:00:00Z", "title": "Q42", "ns": 0}
    entity = item("Q42", "Q7", "P108", **now)
    if "EntityData" in path:
        return {"entities": {"Q42": entity}, "x": said}
    if query.get("meta") == "siteinfo":
        return {
            "query": {"general": {"wikibase-conceptbaseuri": "http://www.wikidata.org/entity/"}}
        }
    if query.get("action") == "query":
        stamp = {"revid": 7, "timestamp": "2015-01-01T00:00:00Z", "user": "Ada"}
        return {"query": {"pages": [{"title": "Q42", "ns": 0, "revisions": [stamp]}]}, "x": said}
    keys = query.get("ids", "").split("|")
    return {"entities": {key: entity if key == "Q42" else item(key) for key in keys}}


class Driver(types.ModuleType):
    """A DB-API module over SQLite that takes any argument, and fails with all it was given where it
    is told to."""

    Error, paramstyle, fails = sqlite3.Error, "qmark", False

    def connect(self, database: str, **secrets: Any) -> sqlite3.Connection:
        self.given = repr(secrets)
        if self.fails:
            text = f"{secrets} {quote(str(secrets))} {CANARIES['driver']}"
            raise sqlite3.OperationalError(f"password={quoted('driver')}: {text}")
        return sqlite3.connect(database)


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with on_loopback(Host) as origin:
        yield origin.removeprefix("http://")


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    made = Driver("canary_release_driver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, made.__name__, made)
        yield made


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    checkpoint: Callable[[str], Path],
    host: str,
    driver: Driver,
) -> Iterator[Path]:
    """Directory of a config with every secret, as a variable, in a file or in full, and the data.

    Files of secrets are beside it."""
    folder, keys = tmp_path_factory.mktemp("canaries"), tmp_path_factory.mktemp("keys")
    (folder / "text.txt").write_text("The Navy is in London. Paris is a city.\n\n" * 200)
    with sqlite3.connect(folder / "d.db") as connection:
        connection.execute("CREATE TABLE f AS SELECT 1 AS id, 'Bob' AS subject, 'P108' AS relation,"
                           " 'Navy' AS object, '2015' AS date")  # fmt: skip
    connection.close()
    patch = pytest.MonkeyPatch()
    by_name = {}
    for n, (place, secret) in enumerate(CANARIES.items()):
        if n % 2:
            patch.setenv(f"SECRET_{n}", secret)
            by_name[place] = f"${{SECRET_{n}}}"
        else:
            (keys / str(n)).write_text(secret + "\n")
            by_name[place] = f"${{file:{keys / str(n)}}}"

    def of(place: str) -> str:
        return quoted(place) if place.startswith("literal") else by_name[place]

    arguments = {
        "database": str(folder / "d.db"),
        "password": of("argument"),
        "options": {"headers": {"X-Any": of("header")}, "list": [of("nested")]},
        "dsn": f"postgres://u:{of('dsn')}@h/db?sslmode=x",
        "auth": CANARIES["literal argument"],
        "passphrase": of("driver"),
    }
    asked = {"relations": ["P108"], "contact": "a@b.org", "min_interval_s": 0}
    sources = [
        {"kind": "feed", "name": "news", **asked,
         "pages": [f"http://{host}/page?key={of('page key')}"],
         "feeds": [f"http://me:{of('feed password')}@{host}/feed?token={of('feed token')}",
                   f"http://me:{of('literal password')}@{host}/literal?code={of('literal code')}"
                   f"&sig={of('literal sig')}"]},
        {"kind": "wikidata", "name": "site", **asked, "properties": "wikidata",
         "endpoint": f"http://me:{of('site password')}@{host}",
         "query_endpoint": f"http://{host}/sparql?token={of('query token')}",
         "query": f"SELECT ?item {{ SERVICE <http://h/?key={of('statement')}> {{ ?item ?p ?o }}}}"},
        {"kind": "sql", "name": "db", "module": driver.__name__, "arguments": arguments,
         "key": "id",
         "query": f"SELECT * FROM f WHERE 'x' <> 'password={of('connection string')}'"},
    ]  # fmt: skip
    template = TEMPLATE.format(
        line="tiny", workspace=folder / "w", model=checkpoint("llama"), reliability=0.0
    )
    head, rest = template.split("[[sources]]")
    head += "".join(
        "[[sources]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in source.items())
        for source in sources
    )
    risk = f"http://me:{of('risk password')}@{host}/rate"
    head += f'[trust.revert_risk]\nendpoint = "{risk}"\ncontact = "a@b.org"\nmin_interval_s = 0\n'
    first, _, edition = rest.partition("[probe]")[2].split("[[editions]]")
    (folder / "c.toml").write_text(f"{head}[probe]{first}[[editions]]{edition}")
    patch.chdir(folder)
    patch.setattr("infra.http.faults.BACKOFF_S", 0.001)
    patch.setattr("infra.http.faults.BREAK_PAUSE_S", 0.0001)
    yield folder
    patch.undo()


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def require_no_leak(folder: Path, *said: str) -> None:
    """No secret is printed, nor in any file of a workspace."""
    assert not leaks("".join(said).encode())
    assert not {path: found for path, body in contents(folder) if (found := leaks(body))}


def test_every_command_after_a_release(world: Path, driver: Driver, corrigenda: Any) -> None:
    """All sources are read, the service of ratings included, and a release is made of them."""
    Host.asked.clear()
    config = ("--config", "c.toml", "--ray-address", "none")
    code, out, err = corrigenda("run", *config, "--verbose")
    assert code == 0, err
    require_no_leak(world / "w", out, err)
    assert {status for _, status in Host.asked} == {200}
    assert any(path.endswith(":predict") for path, _ in Host.asked)
    planted = ("argument", "nested", "header", "dsn", "driver", "literal argument")
    assert all(CANARIES[place] in driver.given for place in planted)
    crawled = pq.read_table(world / "w" / "crawl" / "2021.06.30" / "observations.parquet")
    assert set(crawled["source"].to_pylist()) == {"news", "site", "db"}
    for words in (
        *(("ask", "Bob works for"), ("why", "Q42"), ("why", "Ada Lovelace")),
        *(("status",), ("releases",), ("verify",), ("rollback",)),
    ):
        for form in ((), ("--json",)):
            code, out, err = corrigenda(*words, *form, "--workspace", "w")
            assert code == (words[0] == "rollback"), (words, err)
            assert not leaks((out + err).encode())
    for words in (("check",), ("run", "--json")):
        code, out, err = corrigenda(*words, *config)
        assert code == 0, out + err
        assert not leaks((out + err).encode())
    require_no_leak(world / "w")


@contextmanager
def self_signed(folder: Path) -> Iterator[str]:
    """A host whose certificate nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")

    class Secure(Host):
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

    with on_loopback(Secure) as origin:
        yield origin.removeprefix("http://")


@pytest.mark.parametrize("failure", ["401", "403", "500", "refused", "plain", "certificate"])
def test_every_command_where_hosts_fail(
    failure: str, world: Path, host: str, driver: Driver, corrigenda: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A line for each source that cannot be read, which names the setting and the reference by
    which a login is given where the host wants one."""
    monkeypatch.setattr(driver, "fails", True, raising=False)
    monkeypatch.setattr(Host, "status", int(failure) if failure.isdecimal() else 0)
    text = (world / "c.toml").read_text()
    with self_signed(tmp_path) as secure:
        if failure == "refused":
            text = text.replace(host, "127.0.0.1:9")
        elif not failure.isdecimal():
            at = secure if failure == "certificate" else host
            for setting in ("me:", host):
                text = text.replace(f"http://{setting}", f"https://{setting}")
            text = text.replace(host, at)
        (tmp_path / "c.toml").write_text(text)
        (tmp_path / "text.txt").write_text((world / "text.txt").read_text())
        config = ("--config", tmp_path / "c.toml", "--ray-address", "none", "--workspace")
        for words in (("check",), ("run", "--json")):
            code, out, err = corrigenda(*words, *config, tmp_path / "w")
            assert code == 1, out + err
            require_no_leak(tmp_path / "w", out, err)
            said = out + err
            if words[0] == "check":
                assert all(said.count(f"source {name}") for name in ("news", "site", "db"))
            for setting in ("pages", "query_endpoint") if failure in ("401", "403") else ():
                if setting == "pages" or words[0] == "check":
                    assert (
                        f"`{setting}` by reference" in said or f"`{setting}` gives by ref" in said
                    )
            if failure == "certificate":
                assert "its certificate is not valid" in said
