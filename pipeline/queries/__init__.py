"""Questions about a workspace, answered from its finished outputs alone."""
