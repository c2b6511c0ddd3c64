"""Stage 1, crawl: reads the sources and stores their state at the end of a day as observations."""
