"""The commands of `corrigenda`: a function each, registered in `jobs.cli`."""
