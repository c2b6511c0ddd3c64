"""The mathematics of editing: a model and edit requests in, a delta out.

Sub-folders carry the survey's names (arXiv:2310.16218): `local_modification/` changes a few
weights in closed form, `global_optimization/` trains on all edits at once, `external_memory/` keeps
edits beside the model. `EDITORS` names every method; adding one is a file and a line here.
"""

from editors.base import Base
from editors.editor import Editor, EditReport, Proposal, Work
from editors.external_memory.grace import Grace, GraceConfig
from editors.global_optimization.finetune import FtM, LocFtBf
from editors.local_modification.memit import Memit, MemitConfig

EDITORS: dict[str, type[Editor]] = {
    "memit": Memit,
    "grace": Grace,
    "ft-m": FtM,
    "locft-bf": LocFtBf,
}

__all__ = [
    "EDITORS",
    "Base",
    "EditReport",
    "Editor",
    "FtM",
    "Grace",
    "GraceConfig",
    "LocFtBf",
    "Memit",
    "MemitConfig",
    "Proposal",
    "Work",
]
