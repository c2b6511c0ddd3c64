"""What can be known before a run: of its settings, sources, model, machine and time."""
