"""A recorded Wikibase and its stream of changes, served over HTTP on loopback."""
