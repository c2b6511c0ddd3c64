"""What the pods of all manifests have in common: files, volumes, secrets, resources."""

from __future__ import annotations

import base64
from typing import Any

import yaml

from infra.k8s.scheduled_job import CONFIG_DIR, ScheduledJob

Manifest = dict[str, Any]
"""An object of Kubernetes."""


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as lines, and a value that occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(manifests: list[Manifest]) -> str:
    """Manifests as one YAML text, keys in the order in which they were given."""
    return yaml.dump_all(
        manifests, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf")
    )


def metadata(job: ScheduledJob) -> dict[str, Any]:
    """The metadata of each object of a job."""
    return {"name": job.name, "labels": {"app.kubernetes.io/name": "corrigenda"}}


def config_map(job: ScheduledJob) -> Manifest:
    """The object that holds the config and the files beside it."""
    texts: dict[str, str] = {}
    binaries: dict[str, str] = {}
    for key, content in zip(_keys(job), job.files.values(), strict=True):
        try:
            texts[key] = content.decode()
        except UnicodeDecodeError:
            binaries[key] = base64.b64encode(content).decode()
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(job), "data": texts}
    return {**found, "binaryData": binaries} if binaries else found


def pod_spec(job: ScheduledJob, container: dict[str, Any], *, gpus: int) -> dict[str, Any]:
    """The specification of a pod with one container, which has the job's files, volume, secrets and
    resources.

    container  its name, and what else only this container has
    gpus       GPUs that it needs
    """
    needs: dict[str, Any] = {"cpu": str(job.cpus), "memory": job.memory}
    if gpus:
        needs["nvidia.com/gpu"] = str(gpus)
    items = [{"key": k, "path": name} for k, name in zip(_keys(job), job.files, strict=True)]
    return {
        "containers": [
            {
                **container,
                "image": job.image,
                "env": [_from_secret(job, name) for name in job.secrets],
                "resources": {"requests": needs, "limits": needs},
                "volumeMounts": [
                    {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
                    {"name": "workspace", "mountPath": job.mount},
                ],
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": job.name, "items": items}},
            {"name": "workspace", "persistentVolumeClaim": {"claimName": job.claim}},
        ],
    }


def _from_secret(job: ScheduledJob, variable: str) -> dict[str, Any]:
    """An environment variable whose value is in the job's Secret."""
    reference = {"name": job.secret, "key": variable}
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}


def _keys(job: ScheduledJob) -> list[str]:
    """The key of each file, which has no slash."""
    return [f"file-{number}" for number in range(len(job.files))]
