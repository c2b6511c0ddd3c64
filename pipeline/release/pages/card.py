"""The model card of a release: YAML front matter with every number, then text in Markdown.

The numbers are in the `model-index` format (huggingface.co/docs/hub/model-cards), which hubs and
other tools read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from editors.deltas import PARTS
from editors.deltas.delta import recorded_counts
from infra.display import code, markdown
from pipeline.evaluate.output import Report
from pipeline.plan.edits import PlannedEdit
from pipeline.release.pages.figures import in_chat


class Markdown(str):
    """Text that is Markdown or YAML already; any other string in the card is shown as it is."""


def render_card(
    manifest: Mapping[str, Any],
    *,
    license: str | None,
    report: Report,
    gate: Mapping[str, Any],
    plan: Mapping[str, Any],
    live: Sequence[PlannedEdit],
) -> str:
    """The model card as Markdown with front matter.

    license  licence of the base model
    gate     content of `gate.json`
    plan     counts of the plan stage
    live     edits that the delta holds
    """
    environment = Environment(
        loader=PackageLoader("pipeline.release.pages", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: markdown(value) if type(value) is str else value,
    )
    environment.filters["code"] = lambda text: Markdown(code(text))
    name = manifest["base"]["name"]
    hub_id = name if name and "/" in name else None
    front = ModelCardData(
        base_model=hub_id,
        base_model_relation=hub_id and "finetune",
        license=license,
        tags=["knowledge-editing", "corrigenda"],
        pipeline_tag="text-generation",
        model_name=f"{manifest['line']} {manifest['name']}",
        eval_results=list(eval_results(report)),
    )
    return environment.get_template("card.md.j2").render(
        front=Markdown(front.to_yaml()),
        manifest=manifest,
        beside=beside_checkpoint(manifest),
        report=report,
        in_chat=in_chat(report),
        gate=gate,
        plan=plan,
        new=[edit for edit in live if edit.action != "carry"],
        carried=[edit for edit in live if edit.action == "carry"],
    )


def beside_checkpoint(manifest: Mapping[str, Any]) -> list[str]:
    """The delta's parts that a checkpoint cannot hold, as `12 codebook entries`."""
    return [
        f"{count} {PARTS[kind].unit}"
        for kind, count in recorded_counts(manifest).items()
        if count and not PARTS[kind].in_checkpoint
    ]


def eval_results(report: Report) -> Iterator[EvalResult]:
    """The candidate's metrics as entries of a `model-index`, with n, interval and protocol."""
    data = report["data"]
    for name, metric in report["roles"]["candidate"].items():
        if metric["value"] is not None:
            yield EvalResult(
                task_type="text-generation",
                task_name="Knowledge editing",
                dataset_type=data["name"],
                dataset_name=f"Edited facts of {data['name']}",
                dataset_revision=data["digest"],
                metric_type=name,
                metric_name=name,
                metric_value=metric["value"],
                metric_args={key: metric[key] for key in ("n", "low", "high", "protocol")},
                verified=False,
            )
