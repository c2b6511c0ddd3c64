"""The commands of `corrigenda`, one function each; `jobs.cli` registers them."""
