"""Stage 2, snapshot: observations -> Parquet files of facts and entities, in hash buckets."""
