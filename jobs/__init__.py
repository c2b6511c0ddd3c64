"""The command line and the Ray job."""
