"""Where stages keep their output: the workspace, finished outputs, outputs being made."""
