"""What an editor returns, and nothing of how it is found: a `Delta`, which is a tuple of parts.

`PARTS` names every kind of part by the word that marks its tensors in a file. Adding a kind is a
file with a subclass of `editors.deltas.part.Part` and a line here; nothing else asks which kinds
there are.
"""

from editors.deltas.codebook import Codebook
from editors.deltas.errata import Errata
from editors.deltas.part import Part
from editors.deltas.scoped import ScopedValues
from editors.deltas.weights import WeightPart

PARTS: dict[str, type[Part]] = {
    "": WeightPart,
    "codebook": Codebook,
    "scoped": ScopedValues,
    "errata": Errata,
}
