"""From answers to numbers: metrics with intervals, families of metrics, the report."""
