"""EasyEdit's own MEMIT (https://github.com/zjunlp/EasyEdit) on given facts, in its own process.

    python -m benchmarks.peers.easyedit_memit JOB.json

`edit_throughput.py` writes the job and starts this. The checkout is used unmodified, and none of
its code is kept here. EasyEdit's `__init__` files import everything that any of its methods needs;
empty packages replace them, so that only the modules of MEMIT run. The measured function is
`apply_memit_to_model`, with all facts in one batch: contexts, values, keys, solve, new weights.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.common.process import run_module
from benchmarks.common.random_model import random_model, shape_of

STEP = re.compile(r"^loss (\S+) = (\S+) \+ (\S+) \+ (\S+) avg prob")
"""The line that EasyEdit's `compute_z` prints at each evaluation of the loss: J = NLL + KL +
decay."""


@dataclass(frozen=True, kw_only=True)
class PeerJob:
    """The settings of an edit by EasyEdit."""

    easyedit: str
    """Directory of the checkout of EasyEdit."""
    model: str
    """Directory of the model; or a name or file for `shape_of`, for a model with random weights."""
    tokenizer: str
    """Directory of the tokenizer."""
    moments: str
    """Safetensors file with the second moments C_l [I, I] of the keys by layer, float32, which
    replace EasyEdit's own statistics."""
    requests: Sequence[Mapping[str, str]]
    """The facts, each with `case_id`, `prompt` (`{}` in place of the subject), `subject` and
    `target_new`."""
    layers: Sequence[int]
    """The layers that are edited."""
    out: str
    """Directory for `result.json` and `weights.safetensors`."""
    hidden: int | None = None
    """Width of the model with random weights (`shape_of`); None leaves the shape as it is."""
    clamp: float = 0.75
    """clamp_norm_factor, from the MEMIT paper (arXiv:2210.07229). EasyEdit's settings for Llama
    have 4."""
    decay: float = 0.5
    """v_weight_decay, from the MEMIT paper. EasyEdit's settings for Llama have 1e-3."""
    kl: float = 0.0625
    """kl_factor, from the MEMIT paper and EasyEdit's settings."""
    mom2_weight: float = 500.0
    """mom2_update_weight. EasyEdit's settings for Llama have 15000, for models of another width."""
    stop_nll: float = 0.05
    """The NLL up to which `PeerResult.steps_to_nll` counts. EasyEdit does not get it."""
    device: str = "cpu"
    """torch's name of the device."""
    dtype: str = "float32"
    """Name of the torch dtype of the weights. EasyEdit's editor loads models in float32."""
    threads: int = 0
    """Number of torch's threads; 0 leaves the choice to torch."""


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """The result of an edit by EasyEdit. Lists have one entry for each fact."""

    seconds: float
    """Duration of the edit, without imports, loading and statistics."""
    cpu_s: float
    """CPU seconds of the edit, over all threads."""
    phases: dict[str, float]
    """Phase -> seconds: `values` (with the contexts), `keys`, and `solve` for all the rest."""
    steps: list[int]
    """Number of evaluations of the loss."""
    steps_to_nll: list[int]
    """Number of evaluations until the NLL alone was below `PeerJob.stop_nll`; all of them where it
    never was."""
    losses: list[float]
    """The loss J at the last evaluation; EasyEdit prints three decimals."""
    nlls: list[float]
    """The NLL at the last evaluation."""
    peak_bytes: int
    """Peak memory: on the GPU if there is one, else of the process."""


def run_peer(job: PeerJob) -> PeerResult:
    """Run a job in a new process. Raises CalledProcessError where the process fails."""
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "job.json"
    path.write_text(json.dumps(asdict(job), indent=1), encoding="utf-8")
    run_module("benchmarks.peers.easyedit_memit", path)
    return PeerResult(**json.loads((out / "result.json").read_text(encoding="utf-8")))


def main() -> None:
    """Run the job whose file the command line names, and write its result and edited weights."""
    job = PeerJob(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    if job.threads:
        torch.set_num_threads(job.threads)
    memit = import_memit(Path(job.easyedit))
    model, tokenizer = load_model(job)
    hparams = settings(job, memit, model)
    supply_moments(memit, model, hparams, load_file(job.moments))
    clock = Clock()
    clock.wrap(memit, "get_context_templates", "values")
    clock.wrap(memit, "compute_z", "values")
    clock.wrap(memit, "compute_ks", "keys")
    clock.wrap(memit, "get_module_input_output_at_words", "keys")
    torch.manual_seed(42)  # as its editor does; its contexts are sampled
    said = io.StringIO()
    started, cpu_started = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(said):
        memit.apply_memit_to_model(model, tokenizer, list(job.requests), hparams)
    _synchronise()
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    out = Path(job.out)
    names = [f"{hparams.rewrite_module_tmp.format(layer)}.weight" for layer in job.layers]
    weights = {name: model.get_parameter(name).detach().cpu().contiguous() for name in names}
    save_file(weights, out / "weights.safetensors")
    phases = {**clock.seconds, "solve": seconds - sum(clock.seconds.values())}
    result = PeerResult(
        seconds=seconds,
        cpu_s=cpu_s,
        phases=phases,
        peak_bytes=_peak_bytes(),
        **read(said.getvalue(), job),
    )
    (out / "result.json").write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")


def import_memit(checkout: Path) -> Any:
    """Import EasyEdit's module `memit_main`, without its packages' `__init__` files.

    Where the package `datasets` is not installed an empty module replaces it, since only EasyEdit's
    own statistics use it.
    """
    bare_packages(checkout, "models", "models.rome", "util")
    if importlib.util.find_spec("datasets") is None:
        absent = types.ModuleType("datasets")
        absent.__dict__["load_dataset"] = None
        sys.modules["datasets"] = absent
    return importlib.import_module("easyeditor.models.memit.memit_main")


def bare_packages(checkout: Path, *names: str) -> None:
    """Register packages of the checkout without running their `__init__` files, so that their
    modules can be imported one by one.

    names  dotted names below `easyeditor`
    """
    root = checkout / "easyeditor"
    for name in ("", *names):
        module = types.ModuleType(f"easyeditor.{name}".rstrip("."))
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[module.__name__] = module


def load_model(job: PeerJob) -> tuple[Any, Any]:
    """Model and tokenizer, as EasyEdit's editor prepares them for a Llama."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    dtype = getattr(torch, job.dtype)
    if Path(job.model).is_dir():
        logging.disable_progress_bar()
        model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype)
        model = model.to(job.device)
    else:
        model = random_model(shape_of(job.model, job.hidden), dtype=dtype, device=job.device)
    model.name_or_path = model.config._name_or_path = "llama"  # it goes by the name of the model
    tokenizer: Any = AutoTokenizer.from_pretrained(job.tokenizer)
    tokenizer.pad_token_id = tokenizer.eos_token_id
    tokenizer.padding_side = "right"
    return model.eval(), tokenizer


def settings(job: PeerJob, memit: Any, model: Any) -> Any:
    """EasyEdit's MEMIT settings for Llama models, with some values changed.

    A model with tied embeddings gets llama3.2-3b.yaml, where the head is `model.embed_tokens`; any
    other gets llama-7b.yaml, where it is `lm_head`. Changed because they depend on the model:
    model_name, device, stats_dir, layers and v_loss_layer (the last layer). Set by the job:
    clamp_norm_factor, v_weight_decay, kl_factor, mom2_update_weight. Unchanged: v_lr 0.5,
    v_num_grad_steps 25, fact_token, layer_selection and the names of modules.
    """
    name = "llama3.2-3b" if model.config.tie_word_embeddings else "llama-7b"
    file = Path(job.easyedit) / "hparams" / "MEMIT" / f"{name}.yaml"
    hparams = memit.MEMITHyperParams.from_hparams(str(file))
    changes: dict[str, Any] = {
        "model_name": "llama",
        "device": job.device,
        "stats_dir": job.out,
        "layers": list(job.layers),
        "v_loss_layer": model.config.num_hidden_layers - 1,
        "clamp_norm_factor": job.clamp,
        "v_weight_decay": job.decay,
        "kl_factor": job.kl,
        "mom2_update_weight": job.mom2_weight,
    }
    for key, value in changes.items():
        assert hasattr(hparams, key)
        setattr(hparams, key, value)
    return hparams


def supply_moments(memit: Any, model: Any, hparams: Any, moments: Mapping[str, Tensor]) -> None:
    """Put second moments into EasyEdit's cache of gathered statistics, so that it gathers none.

    moments  layer -> C_l [I, I]
    """
    for layer in hparams.layers:
        name = hparams.rewrite_module_tmp.format(layer)
        memit.COV_CACHE[model.config._name_or_path, name] = moments[str(layer)].float()


def read(said: str, job: PeerJob) -> dict[str, list[Any]]:
    """The fields `steps`, `steps_to_nll`, `losses` and `nlls` of `PeerResult`, read from what
    EasyEdit printed. Raises ValueError where the losses of some fact are missing."""
    facts: list[list[tuple[float, float]]] = []
    for line in said.splitlines():
        if line.startswith("Computing right vector"):
            facts.append([])
        elif match := STEP.match(line):
            facts[-1].append((float(match[1]), float(match[2])))
    if len(facts) != len(job.requests) or not all(facts):
        raise ValueError("this EasyEdit does not print its losses as expected; use 14cea82.")
    below = [[i for i, (_, nll) in enumerate(fact, 1) if nll < job.stop_nll] for fact in facts]
    return {
        "steps": [len(fact) for fact in facts],
        "steps_to_nll": [min(at, default=len(fact)) for at, fact in zip(below, facts, strict=True)],
        "losses": [fact[-1][0] for fact in facts],
        "nlls": [fact[-1][1] for fact in facts],
    }


@dataclass
class Clock:
    """Measures the time spent in functions of a module."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Phase -> seconds."""

    def wrap(self, module: Any, name: str, phase: str) -> None:
        """Replace a function of a module by one whose calls are timed as part of a phase."""
        function: Callable[..., Any] = getattr(module, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = function(*args, **kwargs)
            _synchronise()
            self.seconds[phase] += time.perf_counter() - started
            return result

        setattr(module, name, timed)


def _synchronise() -> None:
    """Wait until the GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_bytes() -> int:
    """Peak memory in bytes: on the GPU if there is one, else of the process."""
    import resource

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
