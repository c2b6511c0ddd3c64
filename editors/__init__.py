"""The mathematics of editing: a model and edit requests in, a delta out.

Sub-folders carry the survey's names (arXiv:2310.16218): `local_modification/` changes a few
weights in closed form, `global_optimization/` trains on all edits at once, `external_memory/` keeps
edits beside the model. `EDITORS` names every method; adding one is a file and a line here.
"""

from editors.editor import Editor
from editors.external_memory.extension_based.errata import ErrataEditor
from editors.external_memory.extension_based.grace import Grace
from editors.external_memory.extension_based.scoped import Scoped
from editors.global_optimization.constrained_fine_tuning.fine_tune import FtM, LocFtBf
from editors.local_modification.gradient_based.memit import Memit

EDITORS: dict[str, type[Editor]] = {
    "memit": Memit,
    "scoped": Scoped,
    "errata": ErrataEditor,
    "grace": Grace,
    "ft-m": FtM,
    "locft-bf": LocFtBf,
}
