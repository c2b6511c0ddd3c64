"""A runner and a workspace for the stages."""

import pytest

from infra.execution.runner import InProcessRunner
from infra.storage.workspace import Workspace


@pytest.fixture
def runner():
    return InProcessRunner()


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")
