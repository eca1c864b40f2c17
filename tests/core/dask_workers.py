"""A scheduler and worker processes on loopback, two or as many as its argument says.

Prints its address, then their numbers for each line of input.
"""

from __future__ import annotations

import sys


def main() -> None:
    """One thread a worker, each with a nanny that starts it again when it dies."""
    import dask
    from distributed import LocalCluster

    dask.config.set({"distributed.scheduler.allowed-failures": 2})
    n_workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with LocalCluster(n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        if n_workers:
            cluster.wait_for_workers(n_workers)
        print(cluster.scheduler_address, flush=True)
        for _ in sys.stdin:
            print(*(worker.pid for worker in cluster.workers.values()), flush=True)


if __name__ == "__main__":
    main()
