"""Stage 2, snapshot: observations -> facts and entities as immutable Parquet, in hash buckets."""
