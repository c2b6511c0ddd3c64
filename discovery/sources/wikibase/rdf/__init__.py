"""Wikibase's RDF, turned into its JSON."""
