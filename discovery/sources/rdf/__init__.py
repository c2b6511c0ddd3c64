"""RDF files: N-Triples and Turtle."""
