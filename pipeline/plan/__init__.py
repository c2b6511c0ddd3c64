"""Stage 5, plan: changes, the model's verdicts on them, a policy -> edits of the next release."""
