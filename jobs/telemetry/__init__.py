"""What a run tells the programs that watch it: metrics, a log, and how they are looked at."""
