"""Tables of dated facts: files (JSON Lines, CSV, Parquet) and SQL databases."""
