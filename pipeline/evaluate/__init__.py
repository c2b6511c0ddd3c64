"""Stage 7, evaluate: asks base, parent and candidate the same questions and writes a report."""
