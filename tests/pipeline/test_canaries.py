"""Secrets planted wherever a source may hold one are written and printed nowhere."""

from __future__ import annotations

import base64
import json
import sqlite3
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback import QuietHandler, on_loopback
from worlds import TEMPLATE, job

from discovery.sources import AskedConfig, BulkConfig
from discovery.trust.policy import RevertRiskConfig
from infra.errors import ConfigError, CorrigendaError
from infra.secrets.settings import SecretSettings
from jobs import cli
from pipeline.flow import run_editions

CANARY = "CANARY/b@d w&rd"
NEVER: dict[type[SecretSettings], frozenset[str]] = {
    config: frozenset(names.split())
    for config, names in zip(
        (*get_args(AskedConfig), *get_args(BulkConfig), RevertRiskConfig),
        (
            "name kind contact min_interval_s max_wait_s max_crawl_delay_s entities wiki relations "
            "properties",
            "name kind path columns",
            "name kind connect module columns key cursor page_rows max_answer_s max_rows",
            "name kind contact min_interval_s max_wait_s max_crawl_delay_s max_entries follow "
            "hosts relations templates extractor",
            "name kind path relations properties entities names max_line_bytes",
            "name kind path wikibase properties relations prefixes",
            "contact limit max_revisions min_interval_s",
        ),
        strict=True,
    )
}
"""Config -> its settings that hold no secret: names, paths, numbers, ids, and who asks."""
DAY = "2016.06.30"


def variants(value: str) -> list[bytes]:
    """A secret in the encodings in which it could be written."""
    forms = {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1]}
    forms |= {base64.b64encode(text.encode()).decode() for text in (value, f"me:{value}")}
    return [form.encode() for form in forms]


def written(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file, tables decoded as well."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.name, path.name.encode() + path.read_bytes()
            if path.suffix == ".parquet":
                yield path.name, repr(pq.read_table(path).to_pylist()).encode()


def leaks(content: bytes) -> list[bytes]:
    return [form for form in (*variants(CANARY), b"CANARY") if form in content]


@pytest.fixture()
def site() -> Iterator[str]:
    """A feed for whoever has the login and the token, which says both again; it names them in what
    it refuses."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            login = f"Basic {base64.b64encode(f'me:{CANARY}'.encode()).decode()}"
            good = (
                self.headers.get("Authorization") == login and quote(CANARY, safe="") in self.path
            )
            here = f"http://{self.headers['Host']}"
            body = (
                f'<rss version="2.0"><channel><title>t</title><link>{here}{self.path}</link><item>'
                f"<title>News</title><link>{here}/e?k={quote(CANARY, safe='')}</link><guid>1</guid>"
                f"<description>Ada Lovelace works for the Navy. {CANARY.replace('&', '&amp;')}"
                "</description></item></channel></rss>"
            )
            if not good:
                body = f"no: {login} {self.headers.get('Authorization')} {self.path} {CANARY}"
            if self.path.startswith("/robots"):
                good, body = True, ""
            self.send_response(200 if good else 401)
            self.send_header("ETag", '"1"')
            self.send_header("Set-Cookie", f"session={CANARY}")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

    with on_loopback(Handler) as origin:
        yield origin


@pytest.fixture()
def driver(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A DB-API module over SQLite that takes any argument, and fails as told with all it knows."""
    module: Any = types.ModuleType("canary_driver")
    module.Error, module.paramstyle, module.fails = sqlite3.Error, "qmark", None

    def connect(database: str, **secrets: Any) -> sqlite3.Connection:
        if module.fails is not None:
            raise module.fails(f"{'x' * 270} {secrets} {quote(str(secrets))}")
        return sqlite3.connect(database)

    module.connect = connect
    monkeypatch.setitem(sys.modules, "canary_driver", module)
    return module


@pytest.fixture()
def config(
    tmp_path: Path, site: str, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Writes a config of sources with secrets in full, or by reference, and their data."""
    (tmp_path / "text.txt").write_text("Paris is a city.\n\n" * 200)
    (tmp_path / "key").write_text(CANARY + "\n")
    monkeypatch.setenv("NEWS_KEY", CANARY)
    rows = [{"subject": "Ada", "relation": "P108", "object": "Navy", "date": "2015", "x": CANARY}]
    (tmp_path / "t.jsonl").write_text(json.dumps(rows[0]) + "\n" + f"not json {CANARY}\n")
    (tmp_path / "t.csv").write_text(
        f"subject,relation,object,x\nA,P108,B,{CANARY}\nA,{CANARY},,,,\n"
    )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    with sqlite3.connect(tmp_path / "d.db") as connection:
        connection.execute("CREATE TABLE f AS SELECT 1 AS id, 'Bob' AS subject, 'P108' AS relation,"
                           f" 'Navy' AS object, '{CANARY}' AS x")  # fmt: skip
    connection.close()

    def write(*, literal: bool, port: str | None = None) -> Path:
        secret = CANARY if literal else "${NEWS_KEY}"
        inside = quote(CANARY, safe="") if literal else f"${{file:{tmp_path / 'key'}}}"
        login = f"me:{quote(CANARY, safe='') if literal else '$NEWS_KEY'}"
        host = port or site.removeprefix("http://")
        arguments = {
            "database": str(tmp_path / "d.db"),
            "auth": secret,
            "options": {"password": secret, "list": [secret]},
        }
        query = f"SELECT * FROM f WHERE 'u://a:{inside}@h/' <> 'password={inside}'"
        filled = TEMPLATE.format(
            line="m", workspace=tmp_path / "w", model=checkpoint("llama"), reliability=0.0
        )
        head, rest = filled.split("[[sources]]")
        sources = [
            {"kind": "feed", "name": "news", "feeds": [f"http://{login}@{host}/feed?k={inside}"],
             "relations": ["P108"], "contact": "a@b.org", "min_interval_s": 0},
            {"kind": "sql", "name": "db", "module": "canary_driver", "arguments": arguments,
             "query": query, "key": "id"},
            *({"kind": "table", "name": f"t{n}", "path": path}
              for n, path in enumerate(("t.jsonl", "t.csv", "t.parquet"))),
        ]  # fmt: skip
        lines = "".join("[[sources]]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in source.items())
                        for source in sources)  # fmt: skip
        text = f"{head}{lines}[probe]{rest.split('[probe]')[1]}"
        path = tmp_path / "config.toml"
        path.write_text(text.replace("[[editions]]\nas_of = 2021-06-30\n", ""))
        return path

    return write


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def test_every_setting_is_listed() -> None:
    """A setting of a source holds a secret, which the class then says, or it is listed as one that
    holds none."""
    for config, never in NEVER.items():
        assert config.model_fields.keys() == never | config.may_hold_secrets.keys(), config
        assert not never & config.may_hold_secrets.keys(), config


@pytest.mark.parametrize("literal", [False, True])
def test_a_crawl_writes_no_secret(
    config: Callable[..., Path],
    driver: types.ModuleType,
    tmp_path: Path,
    literal: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither in records, tables, caches and names of files, nor on the terminal; the sources are
    read all the same."""
    run = job(config(literal=literal), tmp_path / "w")
    run_editions(run, until="diff")
    observed = run.workspace.find("crawl", DAY)
    assert observed is not None
    sources = set(observed.table("observations.parquet")["source"].to_pylist())
    assert sources == {"news", "db", "t0", "t1", "t2"}
    snapshot = run.workspace.find("snapshot", DAY)
    assert snapshot is not None
    assert b"http://127.0.0.1" in b"".join(body for _, body in written(tmp_path / "w"))
    found = {name: leaks(body) for name, body in written(tmp_path / "w") if leaks(body)}
    assert not found
    said = capfd.readouterr()
    assert not leaks((said.out + said.err).encode())


def test_a_changed_secret_finds_its_crawl(
    config: Callable[..., Path],
    driver: types.ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A finished edition is found again with another secret, and with none at all."""
    path = config(literal=False)
    run_editions(job(path, tmp_path / "w"), until="crawl")
    for change in (lambda: monkeypatch.setenv("NEWS_KEY", "x"),
                   lambda: monkeypatch.delenv("NEWS_KEY")):  # fmt: skip
        change()
        made = []
        run_editions(job(path, tmp_path / "w", end=made.append), until="crawl")
        assert not made[0].made_now
    with pytest.raises(ConfigError, match="variable NEWS_KEY is not set"):
        run_editions(job(path, tmp_path / "other"), until="crawl")


@pytest.mark.parametrize("fails", [sqlite3.OperationalError, RuntimeError, KeyError, OSError])
@pytest.mark.parametrize("literal", [False, True])
def test_an_error_of_a_driver_shows_no_secret(
    config: Callable[..., Path],
    driver: Any,
    tmp_path: Path,
    literal: bool,
    fails: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever it raises, in whatever encoding, and cut wherever; it is one line on the
    terminal."""
    driver.fails = fails
    path = config(literal=literal)
    with pytest.raises(CorrigendaError) as caught:
        run_editions(job(path, tmp_path / "w"), until="crawl")
    assert not leaks("".join(traceback.format_exception(caught.value)).encode())
    assert not any(leaks(body) for _, body in written(tmp_path / "w"))
    command = f"corrigenda run --config {path} --until crawl --ray-address none"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capfd.readouterr()
    assert left.value.code == 1 and "source db" in said.err
    assert not leaks((said.out + said.err).encode())


@pytest.mark.parametrize("literal", [False, True])
def test_a_host_that_refuses_shows_no_secret(
    config: Callable[..., Path], site: str, driver: types.ModuleType, tmp_path: Path, literal: bool
) -> None:
    """What it answers is in errors and skips without the secrets that it repeats, and so is an
    address that cannot be reached or has no secure connection."""
    good = config(literal=literal).read_text()
    port = site.rpartition(":")[2]
    for old, new in (("me:", "you:"), ("http://", "https://"), (f":{port}/", ":9/")):
        (tmp_path / "config.toml").write_text(good.replace(old, new, 1))
        with pytest.raises(CorrigendaError) as caught:
            run_editions(job(tmp_path / "config.toml", tmp_path / f"w{len(new)}"), until="crawl")
        assert not leaks("".join(traceback.format_exception(caught.value)).encode())
    assert not any(leaks(body) for _, body in written(tmp_path) if _ not in INPUTS)


INPUTS = {"config.toml", "key", "d.db", "t.jsonl", "t.csv", "t.parquet"}
