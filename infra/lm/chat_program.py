"""A program of its own: fill the chat template of a tokenizer, with limits of memory and time.

    python -P chat_program.py DIRECTORY MEMORY_BYTES CPU_S HAS_SYSTEM

Reads the system prompt from its standard input; HAS_SYSTEM is 0 where there is none. Prints what is
wrong with the template; nothing where it does well, or where there is no template and no system
prompt. It ends by a signal at a limit.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

MESSAGE = "Who wrote Dune?"


def main() -> None:
    """Do what the module says."""
    directory, memory, cpu_s, has_system = Path(sys.argv[1]), *map(int, sys.argv[2:])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    system = sys.stdin.buffer.read().decode() if has_system else None
    from infra.errors import ModelError
    from infra.lm.chat import answer_end, as_chat, has_template
    from infra.models.loading import load_tokenizer

    try:
        tokenizer = load_tokenizer(directory)
        if has_template(tokenizer):
            as_chat(tokenizer, MESSAGE, system=system)
            answer_end(tokenizer)
        elif has_system:
            print("the tokenizer has no chat template, so it takes no system prompt")
    except ModelError as error:
        print(error)


if __name__ == "__main__":
    main()
