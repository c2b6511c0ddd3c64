"""Wikidata or another Wikibase: its API, stream of changes, SPARQL, JSON, RDF, and its dumps."""
