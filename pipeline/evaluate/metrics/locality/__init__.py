"""Locality: do other facts, other prompts and edits of earlier batches stay as they are?"""
