"""From verdicts to a release: plan, edit, evaluate, gate, release. Read flow.py first."""
