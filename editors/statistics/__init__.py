"""Statistics of ordinary text that editors need: key moments, Fisher information, key samples."""
