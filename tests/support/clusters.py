"""A cluster whose workers a test may kill; no test is here."""

from contextlib import contextmanager, suppress

from distributed import Client, LocalCluster


@contextmanager
def client_of_own_cluster(n_workers=2):
    cluster = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")
    try:
        with Client(cluster, set_as_default=False) as client:
            yield client
    finally:
        with suppress(KeyError):    # Dask's, of a worker that died before the cluster had noted it
            cluster.close()
