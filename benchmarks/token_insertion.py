"""What it costs to tokenise a text where tokens are put behind many names, as `errata` does.

    python -m benchmarks.token_insertion [--sizes 100x1 1000x30 ...]

Two texts of 1,200 characters, one with an edited name in each sentence, one with none; a size is a
number of names of CounterFact's subjects, with five tokens behind each, and the number of sets of
words that they share, each of 80 words. Printed are the fastest of five times, and those of the
base's tokenizer.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from typing import Any

from benchmarks.common.counterfact import load_names
from benchmarks.common.hardware import commit, machine
from infra.models.embedded import embedded_model
from infra.models.library import quiet_transformers
from infra.models.loading import load_tokenizer
from infra.models.tokenizer.insertion import with_insertions

CHARS = 1200
TOKENS = 5
"""Tokens behind a name: a target's four, and the learnt one."""
WORDS = 80
"""Words in a set; a relation's have about 60 with the default settings of `errata`."""


def main() -> None:
    """Print a row for each size."""
    args = arguments()
    quiet_transformers()
    command = shlex.join(["python", "-m", "benchmarks.token_insertion", *sys.argv[1:]])
    print(f"{machine()}; commit {commit()}; `{command}`\n")
    tokenizer = load_tokenizer(embedded_model()[0])
    names = [*dict.fromkeys(name.subject for name in load_names())]
    chance = random.Random(0)
    known = [
        text[1:]
        for text in tokenizer.get_vocab()
        if text[0] == "\u0120" and text[1:].isascii() and text[1:].islower() and len(text) > 5
    ]
    known.sort()
    named = " ".join(f"{name} is a person of note." for name in names[:60])[:CHARS]
    plain = "The weather is cold in the city where a man of whom little is known was born. " * 20
    texts = {"names": named, "none": plain[:CHARS]}
    columns = [*(f"text with {name}, ms" for name in texts), "by the base, ms"]
    print("| names | sets of words | made in s |", " | ".join(columns), "|")
    print("|---|---|---|" + "---|" * (len(texts) + 1))
    for size, sets in args.sizes:
        words = [sorted({word[:5] for word in chance.sample(known, WORDS)}) for _ in range(sets)]
        own = names[:size]
        start = time.perf_counter()
        shared, counts = [words[i % sets] for i in range(len(own))], [TOKENS] * len(own)
        new = with_insertions(tokenizer, [[name] for name in own], shared, counts)
        made = time.perf_counter() - start
        times = [f"{milliseconds(new, text):.1f}" for text in texts.values()]
        base = milliseconds(tokenizer, named)
        print(f"| {len(own):,} | {sets} | {made:.1f} |", " | ".join(times), f"| {base:.1f} |")


def milliseconds(tokenizer: Any, text: str) -> float:
    """The fastest of five times."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        tokenizer.backend_tokenizer.encode(text)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        type=lambda text: tuple(map(int, text.split("x"))),
        nargs="+",
        default=[(100, 1), (1000, 30), (10_000, 34), (10_000, 142)],
        metavar="NAMESxSETS",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
