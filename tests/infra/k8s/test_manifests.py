"""Manifests are what the published schemas of Kubernetes and KubeRay allow, field by field."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from infra.k8s.cron_job import cron_job
from infra.k8s.kuberay import ray_cluster, ray_cron_job, ray_job
from infra.k8s.pods import Manifest, as_yaml
from infra.k8s.scheduled_job import MAX_NAME, ScheduledJob, job_name

SCHEMAS = Path(__file__).parent / "schemas"
JOB = ScheduledJob(
    name="corrigenda-mine",
    title="the editions of line mine",
    command=("corrigenda", "run", "--config", "/etc/corrigenda/my config.toml"),
    cron="30 2 * * 1,2",
    time_zone="Europe/Berlin",
    retries=3,
    deadline_s=7200,
    secrets=("CRM_PASSWORD", "TOKEN"),
    secret="crm",
    image="registry.example/corrigenda:1",
    files={"my config.toml": b'line = "mine"\n', "data/\xe9.bin": b"\xff\x00"},
    claim="models",
    mount="/workspace",
    workers=2,
    gpus=1,
    ray_version="2.60.0",
)
FORMS: tuple[Callable[[ScheduledJob], list[Manifest]], ...] = (
    *(cron_job, ray_cluster, ray_job, ray_cron_job),
)
BARE = replace(JOB, secrets=(), gpus=0, files={"c.toml": b'line = "mine"\n'})


def strict(schema: Any) -> Any:
    """The schema with unknown fields refused, as the API server does by `fieldValidation=Strict`,
    except where the schema keeps them."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(part) for name, part in schema.items()}
    closed = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


def require_valid(manifest: Manifest) -> None:
    """Raise ValidationError unless the schema of a manifest's kind allows it."""
    packed = SCHEMAS / f"{manifest['kind'].lower()}.json.gz"
    schema = json.loads(gzip.decompress(packed.read_bytes()))
    if manifest["apiVersion"].startswith("ray.io/"):
        schema = strict(schema)
        schema["properties"]["metadata"] = {"type": "object"}  # the API server's, in no schema
    jsonschema.Draft202012Validator(schema).validate(manifest)


@pytest.mark.parametrize("job", [JOB, BARE], ids=["full", "bare"])
@pytest.mark.parametrize("form", FORMS)
def test_manifests_are_valid(
    form: Callable[[ScheduledJob], list[Manifest]], job: ScheduledJob
) -> None:
    """Also when they have been written as YAML and read again, which changes nothing."""
    made = form(job)
    text = as_yaml(made)
    read = list(yaml.safe_load_all(text))
    assert read == made and "&id" not in text
    for manifest in read:
        require_valid(manifest)


@pytest.mark.parametrize(
    ("form", "path", "value"),
    [
        (cron_job, ("spec", "concurencyPolicy"), "Forbid"),
        (cron_job, ("spec", "timeZone"), 1),
        (cron_job, ("spec", "jobTemplate", "spec", "template", "spec", "image"), "x"),
        (ray_job, ("spec", "activeDeadline"), 5),
        (ray_job, ("spec", "submissionMode"), 5),
        (ray_cluster, ("spec", "headGroupSpec", "template", "spec", "container"), []),
        (ray_cron_job, ("spec", "concurrencyPolicy"), "Forbid"),
        (ray_cron_job, ("spec", "schedule"), None),
    ],
)
def test_the_schemas_refuse_what_is_wrong(
    form: Callable[[ScheduledJob], list[Manifest]], path: tuple[str, ...], value: Any
) -> None:
    """A field that is not there, or of another type, deep inside or not."""
    manifest = deepcopy(form(JOB)[-1])
    *parents, last = path
    place = manifest
    for part in parents:
        place = place[part]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        require_valid(manifest)


def test_a_cron_job_is_one_run_at_a_time() -> None:
    """In its own time zone, with retries and a deadline, late rather than never."""
    spec = cron_job(JOB)[-1]["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("30 2 * * 1,2", "Europe/Berlin")
    assert spec["concurrencyPolicy"] == "Forbid" and spec["startingDeadlineSeconds"] > 0
    job = spec["jobTemplate"]["spec"]
    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (3, 7200)
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_a_ray_cron_job_is_ray_jobs() -> None:
    """Each on a cluster of its own that ends with it; the path with a space is one word."""
    spec = ray_cron_job(JOB)[-1]["spec"]
    assert spec["timeZone"] == "Europe/Berlin"
    assert spec["jobTemplate"] == ray_job(JOB)[-1]["spec"]
    job = spec["jobTemplate"]
    assert job["entrypoint"].endswith("--config '/etc/corrigenda/my config.toml'")
    assert job["shutdownAfterJobFinishes"] and (job["backoffLimit"] == 3)
    assert job["rayClusterSpec"] == ray_cluster(JOB)[-1]["spec"]


@pytest.mark.parametrize("form", FORMS)
def test_secrets_are_references(form: Callable[[ScheduledJob], list[Manifest]]) -> None:
    """Every container has each variable from the Secret, and no value is written down."""
    specs = list(_pods(form(JOB)[-1]))
    assert len(specs) == (1 if form is cron_job else 2)
    for pod in specs:
        [container] = pod["containers"]
        assert [e["name"] for e in container["env"]] == ["CRM_PASSWORD", "TOKEN"]
        for variable in container["env"]:
            reference = {"name": "crm", "key": variable["name"]}
            assert variable["valueFrom"] == {"secretKeyRef": reference} and "value" not in variable


def test_files_are_mounted_at_their_names() -> None:
    """Texts as texts, others as base64; each item of the volume is a key of the ConfigMap."""
    config_map, manifest = cron_job(JOB)
    [pod] = _pods(manifest)
    [volume] = [v for v in pod["volumes"] if v["name"] == "config"]
    held = {**config_map["data"], **config_map["binaryData"]}
    mounted = {item["path"]: held[item["key"]] for item in volume["configMap"]["items"]}
    assert mounted["my config.toml"] == 'line = "mine"\n'
    assert base64.b64decode(mounted["data/\xe9.bin"]) == b"\xff\x00"
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]


def test_names_of_objects() -> None:
    """Any line has one that Kubernetes allows; lines that differ have others."""
    lines = ["mine", "Mine", "my_line", "my.line", "-", "x" * 128, "x" * 127 + "y"]
    names = [job_name(f"corrigenda-{line}") for line in lines]
    assert names[0] == "corrigenda-mine" and len(set(names)) == len(lines)
    for name in names:
        assert len(name) <= MAX_NAME and name[0].isalnum() and name[-1].isalnum()
        assert all(c.isdigit() or c == "-" or "a" <= c <= "z" for c in name)


def _pods(manifest: Any) -> list[dict[str, Any]]:
    """The specifications of all pods of a manifest."""
    if isinstance(manifest, list):
        return [pod for part in manifest for pod in _pods(part)]
    if not isinstance(manifest, dict):
        return []
    if "containers" in manifest:
        return [manifest]
    return [pod for part in manifest.values() for pod in _pods(part)]
