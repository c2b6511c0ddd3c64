"""`corrigenda`: every command, its options, and how errors are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.errors import ConfigError, CorrigendaError
from infra.storage.workspace import Workspace

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keeps the facts inside a language model current.",
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="TOML file with the settings of the run.")
]
WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="Directory of everything a run makes.")
]
LineOption = Annotated[str | None, typer.Option(help="Model line, where there are several.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]


def main() -> None:
    """Entry point: a user's mistake is one line on standard error and exit code 1."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # before any library imports tqdm
    try:
        app()
    except CorrigendaError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, run the same command again", file=sys.stderr)
        raise SystemExit(130) from None


@app.command()
def run(
    config: ConfigOption,
    workspace: Annotated[
        str | None, typer.Option("--workspace", "-w", help="Overrides the config's.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Directory or Hugging Face id of a decoder.")
    ] = None,
    max_edits: Annotated[
        int | None, typer.Option(help="New edits in one release, at most.")
    ] = None,
    ray_address: Annotated[
        str, typer.Option(help="`local`, the address of a running cluster, or `none`.")
    ] = "local",
    until: Annotated[str, typer.Option(help="Last stage to run.")] = "release",
    replace: Annotated[
        bool, typer.Option("--replace", help="Discard unreleased output made from other settings.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart", help="Go on inside an unfinished stage, or begin that stage anew."
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Crawl, diff, probe, plan, edit, evaluate, gate and release: every edition of the config."""
    from infra.execution.ray_runner import runner_at
    from infra.models.loading import quiet_transformers
    from jobs.terminal.edition import print_edition, print_next
    from jobs.terminal.progress import StageWatch
    from pipeline.config import load_config
    from pipeline.flow import run_editions
    from pipeline.queries.summary import summarise
    from pipeline.run import Run
    from pipeline.stages import STAGES

    if until not in STAGES:
        raise ConfigError(f"--until {until!r} is no stage. Choose one of {', '.join(STAGES)}.")
    given = {"workspace": workspace, "model.name": model, "plan.max_edits": max_edits}
    settings = load_config(config, given)
    place = Workspace.at(settings.workspace)
    quiet_transformers()
    failure: CorrigendaError | None = None
    with StageWatch(place, quiet=as_json) as watch, runner_at(ray_address) as runner:
        job = Run(
            config=settings,
            config_dir=config.parent.absolute(),
            workspace=place,
            runner=runner,
            replace=replace,
            restart=not resume,
            stamp={"commit": _commit(), "runner": runner.name},
            begin=watch.begin,
            end=watch.end,
        )
        try:
            run_editions(job, until=until)
        except CorrigendaError as error:
            failure = error
    editions = [summarise(made) for made in watch.made.values()]
    if as_json:
        print(json.dumps({"editions": editions, "error": failure and str(failure)}))
    else:
        console = Console(highlight=False)
        for summary in editions:
            print_edition(summary, console)
        if failure is None and until == STAGES[-1]:
            print_next(editions[-1], place, console)
    if failure is not None:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def ask(
    prompts: Annotated[list[str], typer.Argument(help="Text for the model to go on with.")],
    workspace: WorkspaceOption = "workspace",
    release: Annotated[str | None, typer.Option(help="Version; unset is production.")] = None,
    line: LineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answers of the unedited base and of a release, side by side, as the evaluation asked them."""
    import torch

    from infra.lm.inference import ServedModel
    from infra.lm.language_model import LanguageModel
    from infra.lm.question import Question
    from infra.models.loading import load, locate, quiet_transformers
    from pipeline.queries.status import find_release
    from pipeline.release.output import as_released

    found = find_release(Workspace.at(workspace), line, release)
    version = found.record["version"]
    quiet_transformers()
    questions = [Question(id=str(i), prompt=p.rstrip(), greedy=True) for i, p in enumerate(prompts)]
    manifest = found.json("manifest.json")
    asked = manifest["compute"]
    models = (
        ServedModel(name="base", path=locate(manifest["base"]["name"]).path),
        as_released(found, version),
    )
    answers = {}
    for served in models:
        model, tokenizer = load(served.path, dtype=getattr(torch, asked["dtype"]))
        if served.attach is not None:
            served.attach(model)
        lm, name = LanguageModel(model, tokenizer), served.name
        told = lm.ask(questions, max_new_tokens=asked["max_new_tokens"])
        answers[name] = [answer.greedy for answer in told]
    if as_json:
        rows = [
            {"prompt": p, "base": answers["base"][i], "release": version, "answer": a}
            for i, (p, a) in enumerate(zip(prompts, answers[version], strict=True))
        ]
        print(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("prompt", "base", version)
    for prompt, *said in zip(prompts, *answers.values(), strict=True):
        table.add_row(prompt, *(text or "(nothing)" for text in said))
    Console(highlight=False).print(table)


@app.command("eval")
def evaluate(
    data: Annotated[str, typer.Option(help="NAME:FILE of an edit set, `counterfact:cf.json`.")],
    num: Annotated[int | None, typer.Option(help="First facts of it; unset is all.")] = None,
    model: Annotated[str, typer.Option(help="The unedited model.")] = "smollm2-135m-instruct",
    editor: Annotated[
        list[str] | None,
        typer.Option(help="`memit`, or NAME=memit for several settings of one; repeatable."),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME.key=value, a setting of an editor.")
    ] = None,
    candidate: Annotated[
        Path | None, typer.Option(help="A checkpoint that is edited already, by anyone.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Families of metrics, by commas; unset is the usual ones.")
    ] = None,
    alone: Annotated[int, typer.Option(help="Facts to edit each alone too, for scalability.")] = 0,
    steps: Annotated[
        int, typer.Option(help="Ever larger parts to edit, for retainability and forgetting.")
    ] = 0,
    context: Annotated[
        bool, typer.Option(help="Ask the unedited model with the fact in its prompt, too.")
    ] = True,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16.")] = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    workspace: WorkspaceOption = "evaluations",
    ray_address: Annotated[
        str, typer.Option(help="`local`, the address of a running cluster, or `none`.")
    ] = "local",
    as_json: JsonOption = False,
) -> None:
    """Judge editors, or a checkpoint edited elsewhere, on an edit set beside the unedited model."""
    from infra.execution.ray_runner import runner_at
    from infra.models.loading import locate, quiet_transformers
    from infra.settings import validate
    from jobs.terminal.comparison import print_rows, systems_of, table_rows
    from jobs.terminal.progress import StageWatch
    from pipeline.comparison.systems import Comparison
    from pipeline.config import ModelConfig
    from pipeline.datasets import load_cases
    from pipeline.evaluate.config import EvaluateConfig
    from pipeline.evaluate.questions import families

    name, colon, file = data.partition(":")
    if not colon:
        raise ConfigError(f"--data {data!r}: write NAME:FILE, as counterfact:records.json.")
    systems = systems_of(editor or ([] if candidate else ["memit"]), setting or [], candidate)
    settings: dict[str, Any] = {"context": context}
    if metrics:
        settings["metrics"] = tuple(metrics.split(","))
    config = validate(EvaluateConfig, settings, "eval")
    families(config)
    cases = load_cases(name, Path(file), num=num)
    place = Workspace.at(workspace)
    quiet_transformers()
    with StageWatch(place, quiet=as_json) as watch, runner_at(ray_address) as runner:
        assessment = Comparison(
            cases=cases,
            base=locate(model),
            config=config,
            compute=ModelConfig(name=model, dtype=dtype, device=device).compute,
            workspace=place,
            runner=runner,
            begin=watch.begin,
            end=watch.end,
        )
        rows = table_rows(assessment, systems, alone=alone, steps=steps)
    if as_json:
        told = {"data": cases.name, "digest": cases.digest, "dropped": dict(cases.dropped)}
        print(json.dumps({**told, "systems": rows}))
    else:
        print_rows(rows, cases.dropped, Console(highlight=False))


@app.command()
def status(workspace: WorkspaceOption = "workspace", as_json: JsonOption = False) -> None:
    """How far every edition of a workspace is, and which release is in production."""
    from pipeline.queries.status import status as read_status
    from pipeline.stages import STAGES

    state = read_status(Workspace.at(workspace))
    if as_json:
        print(json.dumps(state))
        return
    console = Console(highlight=False)
    if not state["versions"]:
        console.print(f"{state['workspace']} is empty. Run `corrigenda run --config FILE`.")
        return
    table = Table("version", *STAGES, box=None, padding=(0, 1, 0, 0))
    for version, stages in state["versions"].items():
        table.add_row(version, *stages.values())
    console.print(table)
    for name, version in state["production"].items():
        console.print(f"{name}: production is {version}")


@app.command()
def releases(workspace: WorkspaceOption = "workspace", as_json: JsonOption = False) -> None:
    """The releases of a workspace."""
    from pipeline.queries.status import releases as read_releases

    rows = read_releases(Workspace.at(workspace))
    if as_json:
        print(json.dumps(rows))
        return
    heads = ("version", "line", "as of", "edits", "greedy", "perplexity", "id", "")
    table = Table(*heads, box=None, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(
            *(row["version"], row["line"], row["as_of"], str(row["edits"])),
            *(f"{row['reliability']:.2f}", f"{row['perplexity']:.2f}"),
            *(row["release_id"][:12], "production" if row["production"] else ""),
        )
    console = Console(highlight=False)
    console.print(table if rows else "no releases yet")
    for row in rows:
        console.print(f"report of {row['version']}: {row['page']}", soft_wrap=True)


@app.command()
def why(
    question: Annotated[
        str, typer.Argument(help="A prompt, or the name or id of its subject.", metavar="PROMPT")
    ],
    relation: Annotated[
        str | None, typer.Argument(help="Id of a relation; unset is all of the subject's.")
    ] = None,
    workspace: WorkspaceOption = "workspace",
    as_json: JsonOption = False,
) -> None:
    """Why a fact was edited, held, refused or taken out: changes, trust, verdicts and evidence."""
    from jobs.terminal.facts import print_facts
    from pipeline.queries.why import why as explain

    facts = explain(Workspace.at(workspace), question, relation)
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    print_facts(facts, Console(highlight=False))


@app.command()
def rollback(
    version: Annotated[
        str | None, typer.Argument(help="Release to return to; unset is the one before.")
    ] = None,
    workspace: WorkspaceOption = "workspace",
    line: LineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Point production at an earlier release. Nothing is deleted; the move is kept in the log."""
    from pipeline.queries.status import find_release, one_line
    from pipeline.release.alias import Alias

    place = Workspace.at(workspace)
    alias = Alias(place.root, one_line(place, line))
    current = find_release(place, line, None)
    target = version or current.json("manifest.json")["parent"]
    if target is None:
        raise ConfigError(f"release {alias.current()} has no parent; there is nothing before it.")
    find_release(place, line, target)
    before = alias.current()
    alias.move(target, f"rollback from {before}")
    if as_json:
        print(json.dumps({"from": before, "to": target}))
        return
    print(f"production: {before} -> {target} ({place.directory('release', target)})")


def _commit() -> str | None:
    """Commit of the code that runs, where it runs from a checkout."""
    git: Any = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
