"""A Kubernetes CronJob (batch/v1): one pod for each run, never two at a time."""

from __future__ import annotations

from infra.k8s.pods import Manifest, config_map, metadata, pod_spec
from infra.k8s.scheduled_job import ScheduledJob

LATE_S = 12 * 3600
"""Seconds by which a run may begin late, as after the cluster was down."""
KEPT = 3
"""Jobs that are kept to be looked at, of those that succeeded and of those that failed."""


def cron_job(job: ScheduledJob) -> list[Manifest]:
    """The CronJob of a job, and the ConfigMap that its pods read."""
    pod = pod_spec(job, {"name": "run", "command": list(job.command)}, gpus=job.gpus)
    template = {
        "backoffLimit": job.retries,
        "activeDeadlineSeconds": job.deadline_s,
        "template": {"spec": {"restartPolicy": "Never", **pod}},
    }
    spec = {
        "schedule": job.cron,
        "timeZone": job.time_zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": LATE_S,
        "successfulJobsHistoryLimit": KEPT,
        "failedJobsHistoryLimit": KEPT,
        "jobTemplate": {"spec": template},
    }
    about = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata(job)}
    return [config_map(job), {**about, "spec": spec}]
