"""Stage 9, release: an immutable version of delta, exports, manifest, report, page and model
card."""
