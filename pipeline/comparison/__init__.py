"""`corrigenda eval`: systems beside each other on an edit set, outside of a release."""
