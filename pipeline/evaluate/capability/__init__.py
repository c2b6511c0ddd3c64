"""General capability of a model: accuracy on multiple-choice tasks of lm-evaluation-harness."""
