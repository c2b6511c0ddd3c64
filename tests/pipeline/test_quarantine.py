"""Edits that spoil their batch, through the whole job on a tiny model: found, set aside by id with
their reasons, and the rest is released."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_flow import digests, job

from editors import EDITORS, Memit
from editors.base import Base
from editors.editor import Progress, silent
from editors.request import EditRequest
from infra.storage import Workspace
from pipeline.flow import RETRY, run_editions

POISONED = ("Neymar", "Ada Lovelace")
VERSION = "2016.06.30"


class Amplified(Memit):
    """MEMIT, with the values of some subjects twenty times too long."""

    def find_values(
        self,
        base: Base,
        group: Sequence[EditRequest],
        fitted: Any,
        progress: Progress = silent,
    ) -> dict[str, torch.Tensor]:
        found = super().find_values(base, group, fitted, progress)
        poisoned = [request for request in group if request.subject in POISONED]
        for key in super().find_values(base, poisoned, fitted) if poisoned else ():
            found[key][:-4] *= 20
        return found


@pytest.fixture()
def poisoned(world: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config of one edition, whose editor spoils two of its edits and whose gate searches."""
    monkeypatch.setitem(EDITORS, "amplified", Amplified)
    config = world()
    text = config.read_text().replace("bisect = false", "bisect = true")
    text = text.replace("[edit]\n", '[edit]\neditor = "amplified"\n')
    text = text.replace("kl = 1000.0", f"kl = {KL}")
    config.write_text(text[: text.rindex("[[editions]]")])
    return config


KL = 1000


def test_x(poisoned, tmp_path, monkeypatch):
    import json, time

    torch.set_num_threads(1)
    for i, who in enumerate(
        [
            (),
            *[
                (p,)
                for p in (
                    "Neymar",
                    "Ada Lovelace",
                    "Tom Brady",
                    "Grace Hopper",
                    "Tim Cook",
                    "Jony Ive",
                    "Lionel Messi",
                    "Wayne Rooney",
                )
            ],
            POISONED,
        ]
    ):
        monkeypatch.setitem(globals(), "POISONED", who)
        root = tmp_path / f"w{i}"
        t = time.time()
        run_editions(job(poisoned, root))
        g = Workspace.at(str(root)).find("gate", VERSION).json("gate.json")
        print(
            who,
            time.time() - t,
            {
                c["name"]: c["value"]
                for c in g["checks"]
                if c["name"]
                in ("kl", "norm_ratio", "perplexity_ratio", "near_agreement", "reliability", "ES")
            },
        )
        p = Workspace.at(str(root)).find("plan", VERSION)
        if not i:
            print(
                [
                    (e["id"], e["subject_label"], e["prompt"])
                    for e in p.table("edits.parquet").to_pylist()
                ]
            )
