"""Feeds and web pages: the source, its settings, and their parser, run in a limited process."""
