"""Stage 5, plan: changes and verdicts, under a policy -> the edits of the next release."""
