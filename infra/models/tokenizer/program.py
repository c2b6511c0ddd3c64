"""A program of its own: load a tokenizer and encode texts, with limits of memory and time.

    python -P program.py DIRECTORY MEMORY_BYTES CPU_S MAX_ADDED

Prints what is wrong with the tokenizer in `tokenizer.json`; nothing where it does well. It ends by
a signal at a limit. It imports nothing of ours: what it is given may be hostile.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

RUN = 256
"""Characters in a run of one character. Patterns that try everything do so on runs."""
PROSE = "In 1912, Ada's friends (all 3) met at the Café, paid $5.50 & left... 東京 is far: why?\n"
RUNS = ("a", "A", "1", " ", "\n", ".", "-", "_", "é", "中", "ab", "aA", "a ", "0.")
TOKENS_PER_BYTE = 4
"""Tokens of a text, at most, for each of its bytes: normal forms make a character longer."""
FEW_TOKENS = 1000
"""Tokens that may be around any text."""


def main() -> None:
    """Do what the module says."""
    directory, memory, cpu_s, most = Path(sys.argv[1]), *map(int, sys.argv[2:])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    from tokenizers import Tokenizer

    try:
        for name, key in (
            ("tokenizer.json", "added_tokens"),
            ("tokenizer_config.json", "added_tokens_decoder"),
        ):
            path = directory / name
            value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            if (count := len(value.get(key) or ())) > most:
                print(f"{name} adds {count} tokens, and at most {most} are taken")
                return
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        for text in (PROSE, *(unit * RUN for unit in RUNS), *(unit * RUN + "!" for unit in RUNS)):
            count = len(tokenizer.encode(text).ids)
            if count > FEW_TOKENS + TOKENS_PER_BYTE * len(text.encode()):
                print(f"it makes {count} tokens of {len(text)} characters")
                return
    except MemoryError:
        raise
    except BaseException as error:  # the library's own panic is no Exception
        print(" ".join(str(error).split())[:200] or type(error).__name__)


if __name__ == "__main__":
    main()
