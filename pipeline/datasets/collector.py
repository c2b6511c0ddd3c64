"""Collects the cases of a dataset: cleans them, checks them against each other, and counts by
reason those that are left out.

Rules for every dataset:

- a prompt contains its subject; white space around prompts and answers is removed;
- each fact is edited once: of two edits that contradict each other, the first in the file is kept;
- a paraphrase is never the prompt of an edit, and no question about other facts asks for a fact
  that an edit of the set changes;
- neighbours whose subject is edited itself are left out, since they do not measure locality.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from infra.lm.matching import is_one_of
from infra.lm.normal_form import normalise
from pipeline.datasets.subject_spans import Names
from pipeline.evaluate.cases import Case, CaseSet, Criterion, MultiHop, Query


class Collector:
    """The cases found so far, and the number of records and questions left out, by reason."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.multi_hop: list[MultiHop] = []
        self.gone: list[Query] = []
        self.dropped: Counter[str] = Counter()
        self._ids: set[str] = set()
        self._targets: dict[Hashable, str] = {}

    def drop(self, reason: str) -> None:
        """Count one record or question as left out. The reason begins with its kind, such as
        `record`, `near` or `criterion`."""
        self.dropped[reason] += 1

    def add(self, case: Case, fact: Hashable | None = None) -> Case | None:
        """Clean and keep a case. Returns the clean case, or None where it cannot be used.

        `fact` identifies the fact that the case edits, since a fact is edited once only; None takes
        the prompt. A negative `subject_start` means that the subject is not in the prompt.
        """
        case = self._tidy(case)
        key = case.prompt if fact is None else fact
        reason = self._fault(case, key)
        if reason:
            self.drop(f"record: {reason}")
            return None
        self._ids.add(case.id)
        self._targets[key] = case.target
        self.cases.append(case)
        return case

    def case_set(self, name: str, num: int | None) -> CaseSet:
        """The first `num` cases as one edit set, or all where `num` is None.

        Questions that another edit of the set answers, and multi-hop questions that need an edit
        outside the set, are left out and counted.
        """
        kept = self.cases[:num]
        ids = {case.id for case in kept}
        prompts = {case.prompt for case in kept}
        subjects = Names(case.subject for case in kept)
        cases = [self._apart(case, prompts, subjects) for case in kept]
        multi_hop = [hop for hop in self.multi_hop if ids.issuperset(hop.case_ids)]
        if left := len(self.multi_hop) - len(multi_hop):
            self.dropped["multi_hop: not all of its edits are in the set"] += left
        return CaseSet(
            name=name,
            cases=tuple(cases),
            gone=tuple(self.gone),
            multi_hop=tuple(multi_hop),
            dropped=dict(sorted(self.dropped.items())),
        )

    def _fault(self, case: Case, fact: Hashable) -> str | None:
        """Why a case cannot be used; None where it can."""
        if not (case.prompt and case.subject and case.target):
            return "prompt, subject or target is empty"
        if case.subject_start < 0 or not case.prompt.startswith(case.subject, case.subject_start):
            return "its subject is not in the prompt"
        if not normalise(case.target):
            return "its target has no visible character"
        if any(_same(case.target, old) for old in case.old):
            return "its target is the old answer"
        if fact in self._targets:
            same = _same(self._targets[fact], case.target)
            return "it repeats an earlier edit" if same else "it contradicts an earlier edit"
        if case.id in self._ids:
            return "its id is an earlier record's"
        return None

    def _tidy(self, case: Case) -> Case:
        target = case.target.strip()
        prompt = case.prompt.rstrip()
        seen = {prompt, *(wording.text for wording in case.wordings)}
        return replace(
            case,
            prompt=prompt,
            target=target,
            accepted=unique((target, *case.accepted)),
            old=unique(case.old),
            rivals=tuple(rival for rival in unique(case.rivals) if not _same(rival, target)),
            paraphrases=tuple(text for text in unique(case.paraphrases) if text not in seen),
            questions=unique(case.questions),
            near=tuple(self._near(case.near, target)),
            same_subject=tuple(self._same_subject(case.same_subject, case.old)),
            portability={
                kind: asked
                for kind, queries in case.portability.items()
                if (asked := tuple(query for query in _queries(queries) if query.accepted))
            },
            essays=unique(case.essays),
            references=unique(case.references),
        )

    def _near(self, queries: Iterable[Query], target: str) -> Iterator[Query]:
        for query in _queries(queries):
            if query.accepted and _same(query.accepted[0], target):
                self.drop("near: its own object is the edit's target")
            else:
                yield replace(query, rivals=query.rivals or (target,))

    def _same_subject(self, queries: Iterable[Query], old: Sequence[str]) -> Iterator[Query]:
        for query in _queries(queries):
            if any(is_one_of(name, query.accepted) for name in old):
                self.drop("same_subject: it asks for the edit's old answer")
            else:
                yield query

    def _apart(self, case: Case, prompts: Collection[str], subjects: Names) -> Case:
        """The case without questions whose answer another edit of the set changes."""
        near = tuple(query for query in case.near if not subjects.are_in(query.prompt))
        paraphrases = tuple(text for text in case.paraphrases if text not in prompts)
        same_subject = tuple(query for query in case.same_subject if query.prompt not in prompts)
        portability = {
            kind: asked
            for kind, queries in case.portability.items()
            if (asked := tuple(query for query in queries if query.prompt not in prompts))
        }
        criteria = tuple(test for test in case.criteria if not _asks(test, prompts))
        for reason, lost in (
            ("near: its subject is edited itself", len(case.near) - len(near)),
            ("paraphrase: it is an edit's own prompt", len(case.paraphrases) - len(paraphrases)),
            ("same_subject: it is edited itself", len(case.same_subject) - len(same_subject)),
            ("portability: it is edited itself", _total(case.portability) - _total(portability)),
            ("criterion: a query of it is edited itself", len(case.criteria) - len(criteria)),
        ):
            if lost:
                self.dropped[reason] += lost
        return replace(
            case,
            near=near,
            paraphrases=paraphrases,
            same_subject=same_subject,
            portability=portability,
            criteria=criteria,
        )


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts without surrounding white space, each once, and without empty ones."""
    return tuple(dict.fromkeys(text for raw in texts if (text := raw.strip())))


def _queries(queries: Iterable[Query]) -> tuple[Query, ...]:
    """The queries with clean texts. Queries of one prompt become one, with the answers of all."""
    tidy: dict[str, Query] = {}
    for query in queries:
        prompt = query.prompt.strip()
        if prompt:
            before = tidy.get(prompt, Query(prompt=prompt, accepted=()))
            tidy[prompt] = Query(
                prompt=prompt,
                accepted=unique((*before.accepted, *query.accepted)),
                rivals=unique((*before.rivals, *query.rivals)),
                question=before.question or query.question or None,
            )
    return tuple(tidy.values())


def _same(one: str, two: str) -> bool:
    return normalise(one) == normalise(two)


def _asks(test: Criterion, prompts: Collection[str]) -> bool:
    return any(prompt in prompts for prompt, _ in test.queries)


def _total(portability: Mapping[str, tuple[Query, ...]]) -> int:
    return sum(map(len, portability.values()))
