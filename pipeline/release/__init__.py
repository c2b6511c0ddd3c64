"""Stage 9, release: delta, manifest, report, page, model card and exports -> an immutable
version."""
