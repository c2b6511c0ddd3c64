"""What else a model can do: multiple-choice tasks, by lm-evaluation-harness."""
