"""How well the extractors read: real sentences of Wikipedia, each with one triple that is known.

    python -m benchmarks.extraction_quality [--num 299] [--model NAME] [--dtype auto]

FewRel's sentences (`benchmarks/data/SOURCES.md`) of five relations that have templates (mother,
spouse, child, part of, member of), and of eleven others, in which nothing should be found. An
extractor is asked for all five at once in every sentence that it would be shown
(`discovery.extractors.triple.is_plain`).

A triple is right if its relation is the known one and subject and object name what the
annotators marked: the same words, or `close` if one name holds the other. FewRel marks one triple a
sentence, so what else a sentence says counts as wrong, and precision is a lower bound. The margin
of the model is chosen on the first half of the sentences, for the highest F0.5, and everything is
reported on the second. `found` are the sentences whose marked names are both among the spans: the
most that any extractor over these spans can recall.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.hardware import commit, machine
from discovery.extractors.model import score
from discovery.extractors.patterns import PatternExtractor
from discovery.extractors.sentences import spans
from discovery.extractors.triple import ExtractorConfig, is_plain
from discovery.relations.relation import load_relations
from infra.lm.language_model import LanguageModel
from infra.lm.normal_form import normalise
from infra.models.embedded import EMBEDDED
from infra.models.loading import dtype_name, load, locate

DATA = Path(__file__).parent / "data" / "fewrel.jsonl.gz"
"""The file of sentences."""
RELATIONS = ("P25", "P26", "P40", "P361", "P463")
"""Ids of the relations that extractors are asked for: mother, spouse, child, part of, member of."""
Said = tuple[str, str, str]
"""Relation, subject, object."""


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A sentence and the triple that FewRel's annotators marked in it."""

    sentence: str
    triple: Said


def main() -> None:
    """Measure the extractor by patterns and the extractor by a model, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=299)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--dtype", default="auto")
    given = parser.parse_args()
    marked = read(DATA)[: given.num]
    shown = [item for item in marked if is_plain(item.sentence)]
    half = len(shown) // 2
    fit, held = shown[:half], shown[half:]
    relations = [load_relations()[key] for key in RELATIONS]
    print(f"{machine()}, torch {torch.__version__}, commit {commit()}, {given.model}")
    print(f"{len(marked)} sentences, {len(shown)} plain, reported on {len(held)}")
    found = sum(_found(item) for item in held if item.triple[0] in RELATIONS)
    print(f"found: {found} of {sum(item.triple[0] in RELATIONS for item in held)}")

    start = time.process_time()
    patterns = [
        [
            (t.relation, t.subject, t.object)
            for t in PatternExtractor(ExtractorConfig()).extract([item.sentence], relations)
        ]
        for item in held
    ]
    report("patterns", held, patterns, time.process_time() - start)

    dtype = dtype_name(given.dtype, "cpu")
    model = LanguageModel(
        *load(locate(given.model).path, dtype=getattr(torch, dtype)), plain_attention=True
    )
    start = time.process_time()
    best = [_best(scores) for scores in score(model, [i.sentence for i in shown], relations)]
    seconds = (time.process_time() - start) / len(shown) * len(held)
    margins = np.quantile([value for each in best for _, value in each], np.linspace(0, 1, 101))
    margin = max(margins, key=lambda m: f_half(counts(fit, above(best[:half], m))))
    report(f"model, margin {margin:.2f}", held, above(best[half:], margin), seconds)
    for other in np.quantile(margins, (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)):
        report(f"model, margin {other:.2f}", held, above(best[half:], float(other)), seconds)
    right = [[said for said in each if said[0][0] == item.triple[0]][:1]
             for item, each in zip(held, best[half:], strict=True)]  # fmt: skip
    report("model, told the relation", held, above(right, -np.inf), seconds)


def read(path: Path) -> list[Marked]:
    """The sentences of FewRel's file, in its order."""
    found = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        raw = json.loads(line)
        names = [
            plain([raw["tokens"][i] for i in raw[role][0]]) for role in ("head_pos", "tail_pos")
        ]
        found.append(
            Marked(sentence=plain(raw["tokens"]), triple=(raw["relation"], names[0], names[1]))
        )
    return found


def plain(tokens: Sequence[str]) -> str:
    """The text of some tokens, with the usual spaces around punctuation."""
    text = " ".join(token for token in tokens if token.strip())
    text = re.sub(r" ([,.;:!?%)\]])", r"\1", text)
    text = re.sub(r"([(\[]) ", r"\1", text)
    return re.sub(r" ('s|n't)\b", r"\1", text).replace(" - ", "-")


def above(best: Sequence[Sequence[tuple[Said, float]]], margin: float) -> list[list[Said]]:
    """For each sentence, the triples whose score is above the margin."""
    return [[said for said, value in each if value > margin] for each in best]


def counts(items: Sequence[Marked], said: Sequence[Sequence[Said]]) -> tuple[int, int, int, int]:
    """Four numbers of triples: right ones, right or close ones, all that were extracted, and those
    that the annotators marked for `RELATIONS`."""
    right = close = 0
    for item, triples in zip(items, said, strict=True):
        same = [t for t in triples if t[0] == item.triple[0]]
        right += any(_same(t, item.triple) for t in same)
        close += any(_close(t, item.triple) for t in same)
    wanted = sum(item.triple[0] in RELATIONS for item in items)
    return right, close, sum(map(len, said)), wanted


def f_half(counted: tuple[int, int, int, int]) -> float:
    """F0.5 of right or close triples: F with precision weighted twice as much as recall.

    counted  as `counts` returns it
    """
    _, close, all_said, wanted = counted
    return 1.25 * close / max(1.0, all_said + 0.25 * wanted)


def report(
    name: str, items: Sequence[Marked], said: Sequence[Sequence[Said]], seconds: float
) -> None:
    """Print precision, recall and CPU seconds of one extractor.

    said     triples extracted from each sentence
    seconds  CPU seconds for all sentences
    """
    right, close, num, wanted = counts(items, said)
    others = [t for i, t in zip(items, said, strict=True) if i.triple[0] not in RELATIONS]
    false = sum(bool(t) for t in others) / max(1, len(others))
    print(
        f"{name:28} triples {num:4}  precision {right / max(1, num):.2f} (close "
        f"{close / max(1, num):.2f})  recall {right / max(1, wanted):.2f} (close "
        f"{close / max(1, wanted):.2f})  finds something where nothing is marked "
        f"{false:.2f}  CPU s a sentence {seconds / len(items):.3f}"
    )


def _best(
    scores: Mapping[str, Mapping[tuple[str, str], float]],
) -> list[tuple[Said, float]]:
    """The triple with the highest score for each relation, and its score.

    scores  relation -> (subject, object) -> score
    """
    best = []
    for relation, by_pair in scores.items():
        pair = max(by_pair, key=lambda key: (by_pair[key], key))
        best.append(((relation, *pair), by_pair[pair]))
    return best


def _found(item: Marked) -> bool:
    """Whether both marked names are among the spans of the sentence."""
    names = {normalise(span.text) for span in spans(item.sentence)}
    return all(normalise(name) in names for name in item.triple[1:])


def _same(a: Said, b: Said) -> bool:
    """Whether subjects and objects are the same words."""
    return all(normalise(x) == normalise(y) for x, y in zip(a[1:], b[1:], strict=True))


def _close(a: Said, b: Said) -> bool:
    """Whether of both subjects, and of both objects, one name contains the other."""
    pairs = [(normalise(x), normalise(y)) for x, y in zip(a[1:], b[1:], strict=True)]
    return all(f" {x} " in f" {y} " or f" {y} " in f" {x} " for x, y in pairs)


if __name__ == "__main__":
    main()
