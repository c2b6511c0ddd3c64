"""Questions to a language model: batches, likelihoods, continuations, matching of answers."""
