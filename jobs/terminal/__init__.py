"""What commands print: progress while a job runs, then tables and sentences of its results."""
