"""What a running stage reports: progress, speed, time left, waits, memory, and metrics."""
