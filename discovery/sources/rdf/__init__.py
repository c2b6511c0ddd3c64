"""RDF files (N-Triples, Turtle): a parser of triples, and the source that makes facts of them."""
