"""A recording of a Wikibase and of its stream of changes, and a server of it on the loopback."""
