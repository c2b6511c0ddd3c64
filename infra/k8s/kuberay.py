"""KubeRay's objects (ray.io/v1): a Ray cluster, a job on one of its own, and such jobs by a
schedule."""

from __future__ import annotations

import shlex
from typing import Any

from infra.k8s.pods import Manifest, config_map, metadata, pod_spec
from infra.k8s.scheduled_job import ScheduledJob

CLUSTER_KEPT_S = 600
"""Seconds for which the cluster of a job that has ended is kept, to read its logs."""
START_S = 1800
"""Seconds for a cluster to start, before the job is given up."""
HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001}


def ray_cluster(job: ScheduledJob) -> list[Manifest]:
    """A cluster that stays, to submit jobs to, and the ConfigMap that its pods read."""
    return [config_map(job), {**_about(job, "RayCluster"), "spec": _cluster_spec(job)}]


def ray_job(job: ScheduledJob) -> list[Manifest]:
    """One run on a cluster of its own, and the ConfigMap that its pods read."""
    return [config_map(job), {**_about(job, "RayJob"), "spec": _job_spec(job)}]


def ray_cron_job(job: ScheduledJob) -> list[Manifest]:
    """Runs by a schedule, each on a cluster of its own, and the ConfigMap that their pods read."""
    spec = {"schedule": job.cron, "timeZone": job.time_zone, "jobTemplate": _job_spec(job)}
    return [config_map(job), {**_about(job, "RayCronJob"), "spec": spec}]


def _about(job: ScheduledJob, kind: str) -> dict[str, Any]:
    """What stands above the specification of an object."""
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata(job)}


def _job_spec(job: ScheduledJob) -> dict[str, Any]:
    """The specification of a RayJob. Each retry has a new cluster."""
    return {
        "entrypoint": shlex.join(job.command),
        "submissionMode": "K8sJobMode",
        "backoffLimit": job.retries,
        "activeDeadlineSeconds": job.deadline_s,
        "preRunningDeadlineSeconds": START_S,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": CLUSTER_KEPT_S,
        "rayClusterSpec": _cluster_spec(job),
    }


def _cluster_spec(job: ScheduledJob) -> dict[str, Any]:
    """The specification of a RayCluster: a head, on which the driver runs and no worker, and
    workers."""
    ports = [{"name": name, "containerPort": port} for name, port in HEAD_PORTS.items()]
    head = pod_spec(job, {"name": "ray-head", "ports": ports}, gpus=0)
    worker = pod_spec(job, {"name": "ray-worker"}, gpus=job.gpus)
    group = {
        "groupName": "workers",
        "replicas": job.workers,
        "minReplicas": job.workers,
        "maxReplicas": job.workers,
        "rayStartParams": {},
        "template": {"spec": worker},
    }
    return {
        "rayVersion": job.ray_version,
        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": {"spec": head}},
        "workerGroupSpecs": [group],
    }
