"""Submission to a Ray cluster by its Jobs API: the files and the environment that a job takes with
it, its id, and the client."""
