"""Stage 1, crawl: sources -> observations, as they stood at the end of a day."""
