"""Stage 6, edit: the base model and all edits of the plan, solved together -> one delta."""
