"""Stage 7, evaluate: base, parent and candidate, asked the same -> a report."""
