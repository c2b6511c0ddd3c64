"""Queries of a workspace, answered from its files; nothing is computed or changed."""
