"""Storage of stage outputs: the workspace, finished outputs, and outputs of running stages."""
