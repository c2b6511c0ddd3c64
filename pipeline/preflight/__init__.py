"""The preflight of a base model: can it be asked, edited, exported and loaded again, before a run
begins."""
