"""Asking a language model: questions, batches, likelihoods, continuations, answer matching."""
