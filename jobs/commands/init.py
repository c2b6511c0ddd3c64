"""`corrigenda init`: write a config with comments, from a few questions or from flags."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.display import Terminal


def init(
    file: Annotated[Path, typer.Argument(help="File to write.", metavar="[FILE]")] = Path(
        "corrigenda.toml"
    ),
    kind: Annotated[
        str | None,
        typer.Option(help="Kind of the source: table, sql, feed, dump, rdf or wikidata."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Directory or Hugging Face id of the model.")
    ] = None,
    line: Annotated[str | None, typer.Option(help="Name of the line of releases.")] = None,
    name: Annotated[str | None, typer.Option(help="Your name for the source.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Answer to a question about the source, once for each: path, subject, relation, "
            "object, date, start, end (table); connect, query, key and the columns (sql); feeds, "
            "pages, relations, contact (feed); path, relations (dump); path, wikibase, prefixes "
            "(rdf); entities, query, relations, contact, endpoint (wikidata); properties (of a "
            "Wikibase other than Wikidata).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a config for your source and your model, with a comment on every line.

    On a terminal, what is not given as a flag is asked. In the place of a secret the config names
    an environment variable.
    """
    from infra.errors import ConfigError
    from infra.models.embedded import EMBEDDED
    from infra.settings import nearest
    from jobs.starter.answers import (
        Collector,
        given_by_flags,
        look_at_model,
        require,
        source_name,
    )
    from jobs.starter.by_reference import Referrer
    from jobs.starter.config_file import Starter, config_text, write_config
    from jobs.starter.kinds import KINDS
    from jobs.starter.question import Place

    console = Terminal()

    def tell(sentence: str) -> None:
        console.print(sentence, soft_wrap=True)

    def ask(text: str, proposed: str, optional: bool) -> str:
        default = proposed if proposed or optional else None
        return typer.prompt(text, default=default, show_default=bool(proposed)).strip()

    if file.exists() and not force:
        raise ConfigError(f"{file} exists. Give another FILE, or --force to replace it.")
    asks = sys.stdin.isatty()
    if kind is None:
        if not asks:
            require(["--kind KIND", *(() if model else ("--model DIRECTORY",)), "--set KEY=VALUE"])
        for known, of in KINDS.items():
            tell(f"  {known}: {of.what}")
        kind = ask("Kind of source", "table", False)
    if kind not in KINDS:
        raise ConfigError(
            f"--kind {kind!r} is unknown{nearest(kind, KINDS)}. Choose one of {', '.join(KINDS)}."
        )
    place = Place(Path.cwd(), file.absolute().parent)
    collector = Collector(kind, place, ask if asks else None, tell)
    values = collector.collect(given_by_flags(settings or (), kind))
    if model is None and not asks:
        collector.missing.append("--model DIRECTORY")
    require(collector.missing)
    if model is None:
        model = ask("Model, a directory or a Hugging Face id", EMBEDDED, False)
    tell(look_at_model(model, place))
    proposed = source_name(kind, collector.answers)
    name = name or (ask("Name of the source", proposed, False) if asks else proposed)
    line = line or (ask("Name of the line of releases", "mine", False) if asks else "mine")
    referrer = Referrer(name)
    values = referrer.settings(kind, values)
    starter = Starter(line=line, model=model, kind=kind, name=name, values=values)
    write_config(file, config_text(starter, str(file)), force=force)
    for note in referrer.notes():
        tell(note)
    tell(f"Wrote {file}. Next: look whether all is well, then what would be edited:")
    tell(f"  corrigenda check --config {file}")
    tell(f"  corrigenda run --config {file} --until plan")
