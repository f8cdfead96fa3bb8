"""A cluster of processes on this machine, made once: two workers of one thread each."""

import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="package")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                      memory_limit="1GiB") as made:
        yield made


@pytest.fixture
def client(cluster):
    """A client that is no default one: what uses it was given it."""
    with Client(cluster, set_as_default=False) as made:
        yield made
