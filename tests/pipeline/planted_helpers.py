"""The real model with a dozen facts edited, for tests that plant a failure in them.

The facts are CounterFact's (benchmarks/data/SOURCES.md), about where somebody or something comes
from; the new objects are ours, cities of two words, so that an answer can be begun without being
given.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluate_helpers import GivenCandidate

from editors import EDITORS
from editors.base import Base
from editors.deltas.delta import Delta
from editors.editor import Corpus, EditorCall
from editors.request import EditRequest
from infra.execution.runner import InProcessRunner
from infra.lm.inference import Compute, ServedModel
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef
from infra.storage.stage_dir import SHARDS, StageDir
from pipeline.edit.compose import keep
from pipeline.edit.config import TEXT
from pipeline.evaluate.cases import Case, CaseSet, Query
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.output import REPORT
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.candidate import Candidate, export

DATA = Path(__file__).parents[2] / "benchmarks" / "data" / "counterfact.jsonl.gz"
TARGETS = {
    976: "San Antonio",
    3070: "New Haven",
    16559: "Fort Worth",
    14719: "El Paso",
    19309: "Santa Cruz",
    212: "South Bend",
    11149: "Little Rock",
    11763: "Cape Town",
    19782: "Baton Rouge",
    1423: "Palm Springs",
    2582: "Green Bay",
    13833: "Long Beach",
}
"""New object by CounterFact's case id."""
EVALUATE = EvaluateConfig(
    metrics=(
        *("preference", "teacher_forced", "generation", "locality", "retention", "text"),
        "weights",
    ),
    text_chars=1000,
    num_paraphrases=1,
    num_near=3,
    agreement_tokens=4,
    num_neutral=3,
    neutral_tokens=8,
)
"""Small, for time: seconds, not minutes, a model."""
COMPUTE = Compute(threads=1, shard_size=64, max_new_tokens=6)
SETTINGS: Mapping[str, Any] = {"statistics_tokens": 2048, "fisher_tokens": 512}
"""Of MEMIT: less text than a release is worth."""


def records() -> list[dict[str, Any]]:
    """All of the data set, as in its file."""
    with gzip.open(DATA, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def facts() -> list[Case]:
    """What is edited, in the order of `TARGETS`."""
    by_id = {row["case_id"]: row for row in records()}
    return [_case(by_id[case_id], target) for case_id, target in TARGETS.items()]


def _case(row: Mapping[str, Any], target: str) -> Case:
    own = (row["target_true"],)
    return Case(
        id=str(row["case_id"]),
        relation=row["relation"],
        subject=row["subject"],
        prompt=row["prompt"].format(row["subject"]),
        subject_start=row["prompt"].index("{}"),
        target=target,
        accepted=(target,),
        old=own,
        paraphrases=tuple(row["paraphrases"]),
        near=tuple(Query(prompt=p, accepted=own, rivals=(target,)) for p in row["neighbours"]),
    )


def statements() -> list[str]:
    """True statements of the edited relations about other subjects, which an editor is to keep."""
    edited = facts()
    relations = {case.relation for case in edited}
    asked = " ".join(query.prompt for case in edited for query in case.near)
    return [
        f"{row['prompt'].format(row['subject'])} {row['target_true']}."
        for row in records()
        if row["case_id"] not in TARGETS
        and row["relation"] in relations
        and row["subject"] not in asked
    ]


@dataclass
class Workshop:
    """Where the model is edited, exported and judged; every result in a folder of its name."""

    ref: ModelRef
    base: Base
    root: Path
    runner: InProcessRunner = field(default_factory=InProcessRunner)

    def editor(self, name: str = "memit", **settings: Any) -> Any:
        kind = EDITORS[name]
        common = SETTINGS if name == "memit" else {}
        return kind(kind.Config(**{**common, **settings}))

    def fit(self, editor: Any, seed: int) -> Any:
        """Statistics, half of general text and half of what is to be kept, in the seed's order."""
        general, kept = TEXT.read_text(encoding="utf-8").split("\n\n"), statements()
        for texts in (general, kept):
            random.Random(seed).shuffle(texts)
        call = EditorCall(self.base)
        preserved = editor.fit(call, Corpus(kept, general=False))
        return editor.fit(call, Corpus(general)).blend(preserved, 0.5)

    def solve(
        self, editor: Any, requests: Sequence[EditRequest], fitted: Any, store: dict[str, Any]
    ) -> Delta:
        """One delta for all requests; none of them may be refused. Values go to the store."""
        call = EditorCall(self.base, fitted, store)
        work = editor.prepare(call, requests)
        for group in work.groups:
            store.update(editor.find_values(call, group))
        proposal = editor.propose(call, work)
        assert {report.status for report in proposal.reports} == {"edited"}
        return proposal.delta

    def export(self, name: str, delta: Delta) -> Candidate:
        """The delta as a release exports it.

        That the loaded model holds what was edited is not asked here: it would stop a damaged
        export before the checks that are tried on it.
        """
        made = self.root / name / "edit"
        keep(delta, Checkpoint(self.ref.path), made)
        candidate = export(self.ref, made, self.root / name / "evaluate")
        return replace(candidate, served=replace(candidate.served, holds=None))

    def judge(
        self,
        name: str,
        delta: Delta,
        cases: Sequence[Case],
        *,
        parent: ServedModel | None = None,
        seen: Iterable[str] = (),
        metrics: tuple[str, ...] = EVALUATE.metrics,
    ) -> dict[str, Any]:
        """The report on a delta, as the evaluate stage makes it. `cases` are all facts; `seen` is
        what the editor was given besides their own prompts and the statements to keep.

        The base says the same each time: what it said is laid where an evaluation that goes on
        after an interruption finds it.
        """
        candidate = self.export(name, delta)
        out = StageDir(self.root / name / "evaluate")
        told = self.root / "base" / "-".join(metrics)
        if told.exists():
            shutil.copytree(told, out.path / SHARDS)
        inputs = EvaluateInputs(
            cases=CaseSet("planted", cases),
            base=self.ref,
            parent=parent,
            edited=GivenCandidate(candidate),
            seen=[*(case.prompt for case in cases), *statements(), *seen],
            config=EVALUATE.model_copy(update={"metrics": metrics}),
            compute=COMPUTE,
        )
        evaluate(inputs, out, self.runner)
        told.mkdir(parents=True, exist_ok=True)
        for shard in (out.path / SHARDS).glob("base-*"):
            shutil.copy(shard, told)
        return json.loads((out.path / REPORT).read_text(encoding="utf-8"))
