"""The files of the gate stage, for later stages to read."""

from __future__ import annotations

GATE = "gate.json"
"""Whether the candidate passed, its checks, alarms, and the search for culprits."""
PAGE = "report.html"
"""The report page: in the release, or in the gate's output if the candidate failed."""
