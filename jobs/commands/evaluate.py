"""`corrigenda eval`: compare editors on a set of facts, without making a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from infra.display import Terminal, say_json
from infra.errors import ConfigError
from jobs.commands.options import JsonOption, RayOption, VerboseOption, WorkspaceOption


def evaluate(
    data: Annotated[
        str,
        typer.Option(help="Facts to edit, as NAME:FILE: `counterfact:cf.json`, `jsonl:own.jsonl`."),
    ],
    num: Annotated[
        int | None, typer.Option(help="Take only so many facts from the start of it.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Directory, name or Hugging Face id of the unedited model.")
    ] = "smollm2-135m-instruct",
    editor: Annotated[
        list[str] | None,
        typer.Option(
            help="Editor to judge: `memit`, or NAME=memit to judge one editor with several "
            "settings. May be given several times."
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of an editor, as NAME.key=value. May be given several times."
        ),
    ] = None,
    candidate: Annotated[
        Path | None, typer.Option(help="Judge a model that somebody has edited already, too.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Families of metrics, separated by commas; without it, the usual ones."),
    ] = None,
    alone: Annotated[
        int,
        typer.Option(help="Edit so many facts one by one too, to see what editing together costs."),
    ] = 0,
    steps: Annotated[
        int,
        typer.Option(help="Edit the set also in so many growing parts, to see what is forgotten."),
    ] = 0,
    context: Annotated[
        bool,
        typer.Option(help="Compare with the unedited model that reads the fact in its prompt."),
    ] = True,
    dtype: Annotated[
        str, typer.Option(help="Number format of the model: auto, float32 or bfloat16.")
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="Where the model runs: cpu, cuda, or cuda:1 for one of several.")
    ] = "cpu",
    workspace: WorkspaceOption = "evaluations",
    ray_address: RayOption = "local",
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Edit the same facts with several editors, and compare each with the unedited model."""
    from infra.execution.ray_runner import runner_at
    from infra.lm.chat_trial import require_fillable
    from infra.models.library import quiet_transformers
    from infra.models.loading import locate
    from infra.models.tokenizer.trial import require_bounded
    from infra.settings import validate
    from infra.storage.workspace import Workspace
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
    run_as = validate(ModelConfig, {"name": model, "dtype": dtype, "device": device}, "eval")
    cases = load_cases(name, Path(file), num=num)
    place = Workspace.at(workspace)
    quiet_transformers()
    base = locate(model)
    require_bounded(base.path)
    if "chat" in config.metrics:
        require_fillable(base.path, None)
    with (
        StageWatch(place, heading="Facts and editor", quiet=as_json, verbose=verbose) as watch,
        runner_at(ray_address, place.root) as runner,
    ):
        comparison = Comparison(
            cases=cases,
            base=base,
            config=config,
            compute=run_as.compute,
            workspace=place,
            runner=runner,
            begin=watch.begin,
            tell=watch.tell,
            end=watch.end,
        )
        rows = table_rows(comparison, systems, alone=alone, steps=steps)
    if as_json:
        result = {"data": cases.name, "digest": cases.digest, "dropped": dict(cases.dropped)}
        say_json({**result, "systems": rows})
    else:
        print_rows(rows, cases.dropped, Terminal(), verbose=verbose)
