"""EasyEdit's own MEMIT (https://github.com/zjunlp/EasyEdit) on given facts, in its own process.

    python benchmarks/peers/easyedit_memit.py JOB.json

`edit_throughput.py` writes the job and starts this. The checkout is used unmodified and none of it
is kept here. Its package files import everything that any of its methods needs; packages made here
on the fly take their place, so that only the modules of MEMIT run. What is measured is its
`apply_memit_to_model`, all facts in one batch: contexts, values, keys, solve, new weights.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import subprocess
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

from benchmarks.common.random_model import random_model, shape_of

STEP = re.compile(r"^loss (\S+) = (\S+) \+ (\S+) \+ (\S+) avg prob")
"""What its compute_z prints at every evaluation of the loss: J = NLL + KL + decay."""


@dataclass(frozen=True, kw_only=True)
class PeerJob:
    """What the process is told."""

    easyedit: str
    """Checkout of EasyEdit."""
    model: str
    """Directory of a model; or a name or file for `shape_of`, which then has random weights."""
    tokenizer: str
    """Directory of the tokenizer."""
    moments: str
    """Safetensors file with C_l [I, I] by layer, float32: it takes these for its statistics."""
    requests: Sequence[Mapping[str, str]]
    """Each with `case_id`, `prompt` (`{}` in the subject's place), `subject`, `target_new`."""
    layers: Sequence[int]
    out: str
    """Directory for `result.json` and `weights.safetensors`."""
    hidden: int | None = None
    """Width for `shape_of`."""
    clamp: float = 0.75
    """clamp_norm_factor; the MEMIT paper's. Its Llama settings say 4."""
    decay: float = 0.5
    """v_weight_decay; the MEMIT paper's. Its Llama settings say 1e-3."""
    kl: float = 0.0625
    """kl_factor; the MEMIT paper's and its own."""
    mom2_weight: float = 500.0
    """mom2_update_weight. Its Llama settings say 15000, which is for models of another width."""
    stop_nll: float = 0.05
    """Not given to it: the NLL at which `steps_to_nll` is read from what it prints."""
    device: str = "cpu"
    dtype: str = "float32"
    """Its editor loads models in float32."""
    threads: int = 0
    """Torch threads; 0 is torch's own choice."""


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """What the process reports."""

    seconds: float
    """Of the edit, without imports, loading and statistics."""
    cpu_s: float
    """CPU seconds of the edit, all threads."""
    phases: dict[str, float]
    """Seconds: values (its contexts are made there), keys; solve is all the rest."""
    steps: list[int]
    """Evaluations of the loss, by fact."""
    steps_to_nll: list[int]
    """Evaluations until NLL alone was below `stop_nll`, or all of them, by fact."""
    losses: list[float]
    """J at the last evaluation, by fact; it prints three decimals."""
    nlls: list[float]
    """NLL there, by fact."""
    peak_bytes: int
    """Most memory held: on the GPU if that is its device, else resident."""


def run_peer(job: PeerJob) -> PeerResult:
    """Run a job in a new process. Raises CalledProcessError when that fails."""
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "job.json"
    path.write_text(json.dumps(asdict(job), indent=1), encoding="utf-8")
    subprocess.run([sys.executable, __file__, str(path)], check=True, stdout=subprocess.DEVNULL)
    return PeerResult(**json.loads((out / "result.json").read_text(encoding="utf-8")))


def main() -> None:
    """The process: one job."""
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
    """Its module `memit_main`, with bare packages around it and without `datasets`, which only its
    statistics use."""
    bare_packages(checkout, "models", "models.rome", "util")
    if importlib.util.find_spec("datasets") is None:
        absent = types.ModuleType("datasets")
        absent.__dict__["load_dataset"] = None
        sys.modules["datasets"] = absent
    return importlib.import_module("easyeditor.models.memit.memit_main")


def bare_packages(checkout: Path, *names: str) -> None:
    """Let the checkout's modules be imported without what their package files import."""
    root = checkout / "easyeditor"
    for name in ("", *names):
        module = types.ModuleType(f"easyeditor.{name}".rstrip("."))
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[module.__name__] = module


def load_model(job: PeerJob) -> tuple[Any, Any]:
    """Model and tokenizer, as its editor prepares them for a Llama."""
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
    """Its own settings for Llama models, changed where they name another model or the job differs.

    Of its two files llama3.2-3b.yaml is the one for tied embeddings: the head is
    `model.embed_tokens` there; llama-7b.yaml has `lm_head`. Changed, because they are about those
    models: model_name, device, stats_dir, layers and v_loss_layer (the last). Changed by the job:
    clamp_norm_factor, v_weight_decay, kl_factor, mom2_update_weight. Left as they are: v_lr 0.5,
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
    """Put second moments where it keeps those that it has gathered before."""
    for layer in hparams.layers:
        name = hparams.rewrite_module_tmp.format(layer)
        memit.COV_CACHE[model.config._name_or_path, name] = moments[str(layer)].float()


def read(said: str, job: PeerJob) -> dict[str, list[Any]]:
    """Steps and losses by fact, from what it printed."""
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
    """Seconds spent in functions of a module, by phase."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def wrap(self, module: Any, name: str, phase: str) -> None:
        """Time every call of a function from now on."""
        function: Callable[..., Any] = getattr(module, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = function(*args, **kwargs)
            _synchronise()
            self.seconds[phase] += time.perf_counter() - started
            return result

        setattr(module, name, timed)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_bytes() -> int:
    import resource

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
