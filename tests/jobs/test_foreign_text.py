"""One text that everything which shows it could obey, in every column and given to every command:
it is shown whole, and obeyed by nobody."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from markdown_it import MarkdownIt
from worlds import TEMPLATE, job

from infra.display import line
from infra.lm.language_model import LanguageModel
from pipeline.flow import run_editions

NASTY = (
    "A[/b] [red]x[/red] \x1b]0;t\x07\x1b[2J\x9b31m \x7f\b\r \u202eab\u202c\u2028\u2066"
    "\n---\n# H\n===\n> q\n<script>alert(1)</script><img src=x> [a](http://x.org) ![i](u) | c | "
    "``` `c` {{ 7*7 }} {% raw %} %s $(id) :smile: & &lt; \"q\" 'r' \\ \u00e9 https://e.org/?x=1 Z"
)
"""Markup of rich, commands of a terminal, directions of writing, Markdown, front matter, HTML,
tables, templates, formats and a shell."""
HEAD = NASTY.partition("\n===")[0]
"""Its beginning, where what is refused may be cut."""
SHORT = "B[/b] [red]<b> \x1b[2J \u202e | `c` {{ x }} # *i* [a](u) %s"
"""A part of it that is short enough for a target of an edit."""
NAME = "f[red] \x1b[2J \u202e <b> {{ x }} %s.jsonl"
"""A name of a file."""
OBEYED = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)
OURS = re.compile(r"\r?\x1b\[(?:[0-9;]*m|\?25[lh]\r?|2K|1A)")
"""Our own styles and bars of progress."""
FRAME = re.compile(r"[\s\u2500-\u257f]+")


def squashed(text: str) -> str:
    """A text without what the width of a terminal changes: spaces, line ends, lines of tables."""
    return FRAME.sub("", text)


def is_shown(text: str, out: str) -> bool:
    """Whether all of a text stands in an output: with visible escapes, as Python writes it, or with
    what a label loses."""
    clean = OBEYED.sub(" ", text)
    by_typer = line(text).replace("\\r", "\\x0d").replace("\\n", "\\x0a")
    forms = (line(text), repr(text)[1:-1], clean, by_typer)
    return any(squashed(form) in squashed(out) for form in forms)


def rows_of_people() -> list[dict[str, Any]]:
    """Rows with the text as subject, object and relation, and with what no format can hold."""
    row = {"subject": "Ada", "relation": "P108", "object": "the Navy", "date": "2015"}
    return [
        {**row, "subject": NASTY},
        {**row, "object": NASTY},
        {**row, "relation": NASTY},
        {
            **row,
            "subject": f"{NASTY} 2",
            "subject_id": NASTY,
            "object": "Paris",
            "object_id": NASTY,
        },
        {**row, "subject": "Bob", "relation": "P54", "object": SHORT},
        {**row, "subject": "Eve", "date": NASTY},
        {**row, "subject": "nul \0 in it"},
        {**row, "subject": "half \ud800 of it"},
    ]


def items() -> list[dict[str, Any]]:
    """Items of a dump whose names, statement and references are the text."""
    value = {"value": {"entity-type": "item", "id": "Q2"}, "type": "wikibase-entityid"}
    snak = {"snaktype": "value", "property": "P108", "datavalue": value}
    url = {"snaktype": "value", "property": "P854", "datatype": "url",
           "datavalue": {"value": f"http://x.org/{NASTY}", "type": "string"}}  # fmt: skip
    statement = {
        "mainsnak": {**snak, "datatype": "wikibase-item"},
        "type": "statement",
        "id": f"Q1$ {NASTY}",
        "rank": "normal",
        "references": [{"snaks": {"P854": [url]}}],
    }
    names = {"en": {"language": "en", "value": f"Item {NASTY}"}}
    other = {"en": [{"language": "en", "value": f"Alias {NASTY}"}]}
    return [
        {"type": "item", "id": "Q1", "labels": names, "aliases": other, "lastrevid": 7,
         "modified": "2015-01-01T00:00:00Z", "claims": {"P108": [statement]}},
        {"type": "item", "id": "Q2", "labels": names, "claims": {}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]
) -> Iterator[Path]:
    """Directory of a config and its workspace with a release, in which the text is in every column
    that others fill, and the model's answer to every question."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "text.txt").write_text("The Navy is in London. Paris is a city.\n\n" * 200)
    config = folder / "config.toml"
    rows = "".join(f"{json.dumps(row)}\n" for row in rows_of_people())
    (folder / NAME).write_text(rows)
    (folder / "d.json").write_text("[\n" + ",\n".join(map(json.dumps, items())) + "\n]\n")
    template = TEMPLATE.format(
        line="tiny", workspace=folder / "workspace", model=checkpoint("llama"), reliability=0.0
    )
    head, _, edition = template.split("[[editions]]")
    source, rest = head.split('path = "people.jsonl"')
    roles = ("subject", "relation", "object", "date", "subject_id", "object_id")
    columns = ", ".join(f'{role} = "{role}"' for role in roles)
    config.write_text(
        f"{source}path = {json.dumps(NAME)}\ncolumns = {{ {columns} }}\n"
        '[[sources]]\nkind = "dump"\nname = "items"\npath = "d.json"\nproperties = "wikidata"\n'
        f"{rest}[[editions]]{edition}"
    )
    ask = LanguageModel.ask

    def answered(self: LanguageModel, *given: Any, **options: Any) -> Any:
        found = ask(self, *given, **options)
        return [a if a.greedy is None else replace(a, greedy=f"said {NASTY}") for a in found]

    patch = pytest.MonkeyPatch()
    patch.setattr(LanguageModel, "ask", answered)
    run_editions(job(config, folder / "workspace"))
    yield folder
    patch.undo()


IN_WORKSPACE: dict[tuple[str, ...], str] = {
    ("ask", NASTY): NASTY,
    ("ask", "half \udc9b of it"): "half \\udc9b of it",
    ("ask", "x", "--release", NASTY): HEAD,
    ("ask", "x", "--line", NASTY): NASTY,
    ("why", NASTY): NASTY,
    ("why", "Ada"): NASTY,
    ("why", "Bob"): SHORT,
    ("why", "Q1"): f"http://x.org/{NASTY}",
    ("why", "Ada", NASTY): NASTY,
    ("why", f"nobody {NASTY}"): NASTY,
    ("why", "Ada", f"no {NASTY}"): NASTY,
    ("status",): "",
    ("releases",): "",
    ("verify",): "",
    ("verify", NASTY): NASTY,
    ("rollback", NASTY): HEAD,
    ("rollback", "x", "--line", NASTY): HEAD,
    ("releases", NASTY): NASTY,
    ("releases", f"--{NASTY}"): HEAD,
}
WITH_CONFIG: dict[tuple[str, ...], str] = {
    ("check",): HEAD,
    ("run",): NASTY,
    ("run", "--verbose"): NASTY,
    ("run", "--until", NASTY): NASTY,
    ("run", "--from", NASTY): NASTY,
    ("run", "--model", NASTY): NASTY,
    ("run", "--max-edits", NASTY): "",
    ("run", "--until", "crawl", "--workspace", "w\x1b[2J\n[red]"): "",
}
ELSE: dict[tuple[str, ...], str] = {
    (NASTY,): NASTY,
    ("run", "--config", NASTY): HEAD,
    ("check", "--config", NASTY): HEAD,
    ("status", "--workspace", f"./{NAME}"): NAME,
    ("eval", "--data", NASTY): HEAD,
    ("eval", "--data", f"jsonl:{NASTY}"): HEAD,
    ("eval", "--data", "jsonl:x", "--editor", HEAD): HEAD,
    ("eval", "--data", "jsonl:x", "--set", NASTY): HEAD,
    ("eval", "--data", "jsonl:x", "--metrics", NASTY): NASTY,
    ("eval", "--data", "jsonl:x", "--dtype", NASTY): HEAD,
    ("init", "o.toml", "--kind", NASTY): NASTY,
    ("init", "o.toml", "--kind", "table", "--set", NASTY): HEAD,
    ("init", "o.toml", "--kind", "table", "--set", f"path={NASTY}"): NASTY,
    ("init", "o.toml", "--kind", "feed", "--set", f"feeds={NASTY}"): "",
}


@pytest.mark.parametrize("words", [*IN_WORKSPACE, *WITH_CONFIG, *ELSE], ids=lambda w: str(len(w)))
def test_a_command_shows_it_and_obeys_nothing(
    words: tuple[str, ...], made: Path, corrigenda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal with colours and as JSON, whether the command answers or refuses."""
    monkeypatch.chdir(made)
    monkeypatch.setenv("FORCE_COLOR", "1")
    wanted = {**IN_WORKSPACE, **WITH_CONFIG, **ELSE}[words]
    more: tuple[object, ...] = ()
    if words in WITH_CONFIG:
        more = ("--config", "config.toml", "--ray-address", "none")
    elif words in IN_WORKSPACE:
        more = ("--workspace", made / "workspace")
    code, out, err = corrigenda(*words, *more, columns=4000)
    said = OURS.sub("", out + err)
    assert not OBEYED.search(said) and "Traceback" not in said
    assert is_shown(wanted, said)
    if words[0] != "init":
        again, out, _ = corrigenda(*words, *more, "--json")
        assert again == code and out.count("\n") == 1 and not OBEYED.search(out[:-1])
        texts = list(strings(json.loads(out)))
        assert any(wanted in text for text in texts) or is_shown(wanted, line("".join(texts)))


WRONG = (
    f"{json.dumps(NASTY)} = 1",
    f"line = {json.dumps(NASTY)}",
    f"relations = {json.dumps(NASTY)}",
    f'model = {{ name = "x", base_model = {json.dumps(NASTY)} }}',
    f"edit = {{ editor = {json.dumps(NASTY)} }}",
    f"evaluate = {{ metrics = [{json.dumps(NASTY)}] }}",
    f"trust = {{ approve = [{json.dumps(NASTY)}] }}",
    f"editions = [{{ as_of = {json.dumps(NASTY)} }}]",
    *(
        f"sources = [{{ {settings.replace('TEXT', json.dumps(NASTY))} }}]"
        for settings in (
            "kind = TEXT",
            'kind = "table", name = TEXT, path = "x"',
            'kind = "table", name = "x", path = TEXT',
            'kind = "table", name = "x", path = "x", TEXT = 1',
            'kind = "feed", name = "x", feeds = [TEXT], relations = ["P6"]',
            'kind = "feed", name = "x", feeds = ["http://e.org"], hosts = [TEXT], relations = []',
            'kind = "sql", name = "x", connect = TEXT, query = "SELECT 1", key = "x"',
            'kind = "wikidata", name = "x", entities = [TEXT]',
        )
    ),
    f"a = {NASTY}",
)
"""Configs that are refused for the text."""


@pytest.mark.parametrize("config", WRONG, ids=range(len(WRONG)))
def test_a_config_that_is_refused(
    config: str, corrigenda: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong in it is said so that a terminal obeys nothing of it, and all of it as JSON."""
    monkeypatch.chdir(tmp_path)
    Path(NAME).write_text(config + '\nworkspace = "w"\n')
    for words in (("check",), ("run", "--ray-address", "none")):
        code, out, err = corrigenda(*words, "--config", NAME, columns=4000)
        assert code == 1 and not OBEYED.search(OURS.sub("", out + err))
        assert "Traceback" not in err and (is_shown(NAME, out + err) or is_shown("A[/b]", out))
        code, out, _ = corrigenda(*words, "--config", NAME, "--json")
        assert code == 1 and json.loads(out) and not OBEYED.search(out[:-1])


def test_init_shows_the_names_of_columns(
    corrigenda: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of a table's columns are listed whole, and the config holds the very names."""
    monkeypatch.chdir(tmp_path)
    names = [f"{SHORT} {n}" for n in range(3)]
    Path(NAME).with_suffix(".csv").write_text(
        ",".join(f'"{name}"' for name in names) + "\na,P6,b\n"
    )
    path = str(Path(NAME).with_suffix(".csv"))
    roles = ("subject", "relation", "object")
    flags = [w for pair in zip(roles, names, strict=True) for w in ("--set", "=".join(pair))]
    given = ("init", "c.toml", "--kind", "table", "--set", f"path={path}", *flags)
    code, out, err = corrigenda(*given, "--model", "smollm2-135m-instruct")
    assert (code, err) == (0, "") and not OBEYED.search(out)
    assert all(is_shown(name, out) for name in (path, *names))
    (source,) = tomllib.loads(Path("c.toml").read_text())["sources"]
    assert source["path"] == path and source["columns"] == dict(zip(roles, names, strict=True))


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value:
            yield from strings(inner)
        yield from strings(list(value.values()) if isinstance(value, dict) else None)


@pytest.mark.parametrize(
    ("question", "columns"),
    [
        (NASTY, {"subject", "subject_label"}),
        ("Ada", {"relation", "new_value", "new_label", "value"}),
        ("Q1", {"subject_label", "subject_aliases", "new_statement", "references"}),
    ],
    ids=["subject", "relation and value", "names and evidence"],
)
def test_every_column_holds_the_very_text(
    question: str, columns: set[str], made: Path, corrigenda: Any
) -> None:
    """As JSON of `why`, which reads the tables of all stages."""
    code, out, _ = corrigenda("why", question, "--workspace", made / "workspace", "--json")
    held = set[str]()

    def look(value: Any, column: str = "") -> None:
        if isinstance(value, str) and NASTY in value:
            held.add(column)
        for key, inner in value.items() if isinstance(value, dict) else ():
            look(inner, key)
        for inner in value if isinstance(value, list) else ():
            look(inner, column)

    look(json.loads(out))
    assert code == 0 and columns <= held


def test_a_fact_sheet_has_a_row_a_line(made: Path) -> None:
    """Whatever a reader takes for the end of a line; what a terminal obeys is escaped as JSON does
    it, and the rows are those of the table."""
    (path,) = (made / "workspace" / "release").glob("*/fact_sheet.jsonl")
    text = path.read_text()
    rows = [json.loads(row) for row in text.splitlines()]
    assert rows == pq.read_table(path.with_suffix(".parquet")).to_pylist()
    assert any(NASTY in row["value"] for row in rows)
    assert not OBEYED.search(text)


def test_a_model_card_has_its_own_headings_alone(made: Path) -> None:
    """Its front matter is YAML of the keys that hubs know; its body has no HTML, no link, no image
    and no further heading; the text is shown."""
    for path in (made / "workspace" / "release").glob("*/**/README.md"):
        text = path.read_text()
        _, front, body = text.split("---\n", 2)
        keys = set(yaml.safe_load(front))
        assert keys == {"pipeline_tag", "tags", "model-index", "base_model", "license"} & keys
        assert "model-index" in keys and not OBEYED.search(text)
        tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(body)
        inner = [part for token in tokens for part in (token, *(token.children or ()))]
        assert not {part.type for part in inner} & {"html_block", "html_inline", "image", "fence"}
        assert not any(part.type == "link_open" for part in inner)
        heads = [tokens[n + 1].content for n, t in enumerate(tokens) if t.type == "heading_open"]
        assert heads[1:] == ["Evaluation", "Gate", "Not edited", "Use and undo"]
        plain = "".join(part.content for part in inner if part.type in ("text", "text_special"))
        assert squashed(line(NASTY)) in squashed(plain)


def test_a_page_has_its_own_elements_alone(made: Path) -> None:
    """No script but its own, no image, no link to where the text leads; the text is shown."""
    (path,) = (made / "workspace" / "release").glob("*/report.html")

    class Elements(HTMLParser):
        found: list[tuple[str, dict[str, str | None]]] = []  # noqa: RUF012
        text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append((tag, dict(attrs)))

        def handle_data(self, data: str) -> None:
            self.text += data

    page = Elements()
    page.feed(path.read_text())
    page.close()
    assert not any(tag in ("img", "iframe", "object", "h4") for tag, _ in page.found)
    assert not any("x.org" in str(about) for _, about in page.found)
    assert not any(name.startswith("on") for _, about in page.found for name in about)
    assert "<script>alert(1)" not in path.read_text()
    shown = squashed(OBEYED.sub("", page.text))
    assert all(squashed(OBEYED.sub("", text)) in shown for text in (SHORT, NASTY))
