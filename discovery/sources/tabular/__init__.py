"""Tables with a fact a row: files (JSON Lines, CSV, Parquet), SQL databases, and their rows."""
