"""Stage 3, diff: two snapshots -> changes, each with the rule that decided and its evidence."""
