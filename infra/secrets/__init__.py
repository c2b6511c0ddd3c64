"""Secrets in settings: named by reference, hidden where they stand in full, and never written."""
