"""`corrigenda eval`: compares several edited models on one edit set, without a release."""
