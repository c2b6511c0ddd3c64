"""Manifests for Kubernetes and KubeRay, of one model of a job."""
