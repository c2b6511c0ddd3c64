"""Stage 6, edit: the plan's edits, solved together from the base model -> one delta."""
