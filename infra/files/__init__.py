"""Files: written whole or not at all, digested, decompressed."""
