"""What a person sees: progress while a job runs, and tables of what came of it."""
