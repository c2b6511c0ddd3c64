"""Feeds and web pages, read in a process with limits."""
