"""Files on disk: atomic writing, digests of their content, decompression."""
