"""Runners: the same work, with the same results, in this process or on Ray."""
