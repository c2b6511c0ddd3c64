"""Mechanisms that know nothing of facts or edits: errors, settings, files, HTTP, models on disk,
storage of stage outputs, runners, process groups, and questions to a language model."""
