"""Mechanisms that know nothing of facts or edits: errors, storage, runner, models, scoring,
HTTP."""
