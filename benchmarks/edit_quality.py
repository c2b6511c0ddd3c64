"""Variants of an editor on the same CounterFact facts: what the model is worth with all edits in.

    python benchmarks/edit_quality.py --num 100 --set cov_ratio=0.3 \\
        --variant "narrow: layers=8,9" --variant "wide: layers=4,5,6,7,8,9 values.clamp=1" \\
        [--editor NAME] [--peer FILE] [--out FILE]

A setting is a dotted path in the editor's config class and a value (numbers separated by commas are
a list, [9] is a list of one); a variant has those of --set and its own. --peer is a safetensors
file of edited weights by parameter name, made elsewhere from the same facts and the same base.
Prints Markdown; appends to --out a line of JSON for every row, with the results of single facts.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.counterfact import Record, load_records
from benchmarks.demo_job import ROOT, commit, machine
from benchmarks.scoring import PROTOCOLS, Difference, Scorer, Scores, paired_bootstrap
from editors import EDITORS, Base
from editors.delta import restore_
from editors.request import EditRequest
from infra.errors import ConfigError, CorrigendaError
from infra.models import EMBEDDED, cache_directory, dtype_name, load, locate
from infra.settings import validate
from infra.storage import digest_of, write_atomic
from pipeline.edit import ValueStore

TEXTS = ROOT / "pipeline" / "texts"
COMPARED = ("ES", "PS", "NS", "exact", "paraphrase_exact", "kept")
"""Measures whose difference from the peer is printed."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A name for the table, and an editor."""

    name: str
    editor: Any


@dataclass(frozen=True, slots=True)
class Edit:
    """What editing took, and what became of the requests."""

    status: Mapping[str, int]
    num_searched: int
    """Facts whose values were not in the store."""
    seconds: Mapping[str, float]
    """By phase; what was in the store took none."""


def main() -> None:
    """Score the base, the peer and every variant, one after the other."""
    args = arguments()
    try:
        variants = list(parse_variants(args))
        run(args, variants)
    except CorrigendaError as error:
        sys.exit(str(error))


def run(args: argparse.Namespace, variants: Sequence[Variant]) -> None:
    """The tables of one call."""
    torch.set_num_threads(args.threads)
    ref, dtype = locate(args.model), dtype_name(args.dtype, args.device)
    loaded = load(ref.path, dtype=getattr(torch, dtype), device=args.device)
    base = Base(*loaded, digest=digest_of([ref.digest, dtype]))
    records = load_records(args.num)
    header = {
        "machine": f"{machine()}, {args.device}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "commit": commit(),
        "command": shlex.join(["python", *sys.argv]),
        "model": f"{ref.name}@{ref.digest[:12]}",
        "dtype": dtype,
        "num": args.num,
    }
    print("; ".join(f"{key}: {value}" for key, value in header.items()), end="\n\n")
    scorer = make_scorer(args, base, records)
    table = Table(args.out, header)
    table.add("base", scorer.base)
    peer = None
    if args.peer:
        with replaced(base.model, args.peer):
            peer = scorer.score(base.model)
        table.add("peer", peer)
    rows: list[tuple[str, dict[str, Difference]]] = []
    for variant in variants:
        made = edited(base, variant.editor, [r.request() for r in records], args.cache)
        with made as edit:
            scores = scorer.score(base.model)
        against = differences(scores, peer) if peer else {}
        table.add(variant.name, scores, variant, edit, against)
        rows.append((variant.name, against))
    if peer:
        print_differences(rows)


@contextmanager
def edited(base: Base, editor: Any, requests: Sequence[EditRequest], cache: Path) -> Iterator[Edit]:
    """The base with all requests carried out inside the `with`, bitwise as before after it.

    Statistics and values are kept in `cache` by content. All that is asked of an editor is here.
    """
    clock = Clock()
    fitted = statistics(base, editor, cache)
    clock.lap("statistics")
    store = ValueStore(cache / "values")
    work = editor.prepare(base, requests, fitted, store.read())
    clock.lap("prepare")
    for group in work.groups:
        store.add(editor.find_values(base, group))
    clock.lap("values")
    proposal = editor.propose(base, work, fitted, store.read())
    clock.lap("solve")
    status = dict(Counter(report.status for report in proposal.reports))
    with proposal.delta.applied(base.model):
        yield Edit(status, sum(map(len, work.groups)), clock.seconds)


def statistics(base: Base, editor: Any, cache: Path) -> Any:
    """What the editor has to know of ordinary text, fitted once; None if that is nothing."""
    if editor.Fitted is None:
        return None
    text = (TEXTS / "statistics.txt").read_text(encoding="utf-8")
    key = digest_of([base.digest, text, editor.fit_spec()])
    path = cache / "statistics" / f"{key}.safetensors"
    if not path.exists():
        write_atomic(path, editor.fit(base, text.split("\n\n")).save)
    return editor.Fitted.load(path)


@contextmanager
def replaced(model: Any, file: Path) -> Iterator[None]:
    """The model with a file's weights in place of its own, in its own dtype."""
    parameters, given = dict(model.named_parameters()), load_file(file)
    for name, tensor in given.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise ConfigError(
                f"--peer {file}: {name} {tuple(tensor.shape)} is no weight of the model."
            )
    originals = {name: parameters[name].detach().clone() for name in given}
    try:
        restore_(model, given)
        yield
    finally:
        restore_(model, originals)


def make_scorer(args: argparse.Namespace, base: Base, records: Sequence[Record]) -> Scorer:
    """With the first characters of the held-out text."""
    text = (TEXTS / "perplexity.txt").read_text(encoding="utf-8")[: args.characters]
    return Scorer(base.model, base.tokenizer, records, [text], num_neighbours=args.num_neighbours)


def differences(scores: Scores, peer: Scores) -> dict[str, Difference]:
    """Of ours minus the peer's, on the same facts."""
    return {name: paired_bootstrap(scores.items[name], peer.items[name]) for name in COMPARED}


class Table:
    """Rows printed as they come, and kept as lines of JSON."""

    def __init__(self, out: Path | None, header: Mapping[str, Any]) -> None:
        self.out = out
        self.header = header
        columns = ["", *PROTOCOLS, "S", "perplexity", "edited", "edit s", "score s"]
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def add(
        self,
        name: str,
        scores: Scores,
        variant: Variant | None = None,
        edit: Edit | None = None,
        against: Mapping[str, Difference] | None = None,
    ) -> None:
        """Print one row, and append it to the file."""
        shares = [scores.share(measure) for measure in PROTOCOLS]
        cells = [f"{s.value:.3f} [{s.low or 0:.2f}, {s.high or 0:.2f}]" for s in shares]
        cells += [f"{scores.s:.3f}", f"{scores.perplexity:.2f} (x{scores.perplexity_ratio:.3f})"]
        if edit:
            cells += [f"{edit.status.get('edited', 0)}/{sum(edit.status.values())}"]
            cells += [f"{sum(edit.seconds.values()):.0f}"]
        else:
            cells += ["", ""]
        print(f"| {name} | {' | '.join(cells)} | {scores.seconds:.0f} |", flush=True)
        if self.out:
            line = {
                **self.header,
                "name": name,
                "editor": type(variant.editor).__name__ if variant else None,
                "config": asdict(variant.editor.config) if variant else None,
                "edit": asdict(edit) if edit else None,
                "scores": scores.as_json(),
                "minus_peer": {key: asdict(d) for key, d in (against or {}).items()},
            }
            with self.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


def print_differences(rows: Sequence[tuple[str, Mapping[str, Difference]]]) -> None:
    """Each variant minus the peer, with intervals of the paired bootstrap."""
    print(f"\n| minus the peer | {' | '.join(COMPARED)} |\n|{'---|' * (len(COMPARED) + 1)}")
    for name, against in rows:
        cells = [f"{d.value:+.3f} [{d.low:+.2f}, {d.high:+.2f}]" for d in against.values()]
        print(f"| {name} | {' | '.join(cells)} |")


class Clock:
    """Seconds of one phase after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, phase: str) -> None:
        """The phase that ends now."""
        now = time.perf_counter()
        self.seconds[phase], self._since = now - self._since, now


def parse_variants(args: argparse.Namespace) -> Iterator[Variant]:
    """The editors of the command line. Raises ConfigError for a setting they do not have."""
    kind = EDITORS[args.editor]
    for text in args.variant or [f"{args.editor}:"]:
        name, _, own = text.partition(":")
        settings = nested([*args.set, *own.split()])
        yield Variant(name.strip(), kind(validate(kind.Config, settings, f"variant {name!r}")))


def nested(pairs: Sequence[str]) -> dict[str, Any]:
    """`a.b=1` as {"a": {"b": 1}}; later ones win."""
    result: dict[str, Any] = {}
    for pair in pairs:
        path, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"setting {pair!r} has no value. Write key=value, without spaces.")
        *parents, last = path.split(".")
        place = result
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = literal(value)
    return result


def literal(text: str) -> Any:
    """JSON where it is; else a list at commas, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [literal(part) for part in text.split(",")] if "," in text else text


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num", type=int, default=100, help="facts")
    parser.add_argument("--editor", choices=list(EDITORS), default="memit")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--variant", action="append", metavar="NAME: KEY=VALUE ...")
    parser.add_argument("--peer", type=Path, help="edited weights of another system")
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--num-neighbours", type=int, default=3)
    parser.add_argument("--characters", type=int, default=12_000, help="of held-out text")
    parser.add_argument("--cache", type=Path, default=cache_directory() / "benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
