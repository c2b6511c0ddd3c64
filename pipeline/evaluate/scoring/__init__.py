"""Makes numbers from answers: metrics with intervals, families of metrics, the report."""
