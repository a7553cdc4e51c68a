"""Tests run in as many processes as there are cores; each of them computes with one thread."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported; for child processes too
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _own_caches(tmp_path_factory):
    """What tests keep for later ones is not the user's, in child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMGTRANS_CACHE", str(tmp_path_factory.mktemp("caches")))
        yield
