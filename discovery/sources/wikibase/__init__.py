"""Wikidata and any other Wikibase: its API, its stream of changes, its JSON and RDF, its dumps."""
