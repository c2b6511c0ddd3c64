"""Files in every compression are their content, whole or up to the place of the damage."""

import bz2
import gzip
import random
from pathlib import Path

import pyarrow as pa
import pytest

from infra.errors import DamageError
from infra.files.decompress import PIECE_BYTES, decompress, suffix_of

PACK = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}
CONTENT = random.Random(3).randbytes(300_000) * 3


@pytest.mark.parametrize("form", PACK)
@pytest.mark.parametrize("parts", [1, 3])
def test_a_file_of_several_parts_is_their_content(tmp_path: Path, form: str, parts: int) -> None:
    """Members, streams or frames one after the other, in pieces of bounded size."""
    (tmp_path / "x").write_bytes(PACK[form](CONTENT) * parts)
    pieces = list(decompress(tmp_path / "x"))
    assert b"".join(pieces) == CONTENT * parts
    assert max(map(len, pieces)) <= PIECE_BYTES


@pytest.mark.parametrize(
    ("form", "damage"),
    [
        *((form, damage) for form in PACK for damage in ("cut", "tail")),
        *((form, "noise") for form in ("gzip", "bzip2")),  # Zstandard need not have checksums
    ],
)
def test_damage_comes_after_what_is_good(tmp_path: Path, form: str, damage: str) -> None:
    """A file that is cut, turned within, or followed by something else: what stands before is
    yielded, and the damage is one line."""
    whole = PACK[form](CONTENT) * 2
    middle = len(whole) * 3 // 4
    noise = random.Random(4).randbytes(1000)
    bad = {
        "cut": whole[:middle],
        "noise": whole[:middle] + noise + whole[middle + len(noise) :],
        "tail": whole + b"something else",
    }
    (tmp_path / "x").write_bytes(bad[damage])
    pieces: list[bytes] = []
    with pytest.raises(DamageError) as caught:
        for piece in decompress(tmp_path / "x"):
            pieces.append(piece)
    assert (CONTENT * 2).startswith(b"".join(pieces)[: len(CONTENT)]) and pieces
    assert "\n" not in str(caught.value)


def test_suffixes() -> None:
    """That of the compression does not count, nor does the case."""
    assert suffix_of("a/d.nt.gz") == ".nt" and suffix_of("D.CSV.ZST") == ".csv"
    assert suffix_of("d.nt") == ".nt" and suffix_of("d.gz") == "" and suffix_of("d") == ""
