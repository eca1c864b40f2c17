"""Convert a study's files with workers that Slurm starts: python convert_on_slurm.py STUDY OUTPUT --jobs 100."""

import argparse

from dask_jobqueue import SLURMCluster

from fivesigma import resolve_study
from fivesigma.core.dask_cluster import DaskCluster
from fivesigma.dataset import convert
from fivesigma.study import conversion_of


def main() -> None:
    """Ask for the jobs, convert as soon as one of them runs, print the cut-flow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="name of a study, or its YAML file")
    parser.add_argument("output", help="folder of the dataset; all nodes must see it and the input files")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--step", type=int, default=100_000, help="entries of a task, and of a shard")
    parser.add_argument("--memory", default="4GB", help="of each job")
    parser.add_argument("--walltime", default="04:00:00")
    arguments = parser.parse_args()

    conversion = conversion_of(resolve_study(arguments.study)).model_copy(update={"step": arguments.step})
    with SLURMCluster(
        cores=1,  # one core, process and thread a job
        processes=1,
        memory=arguments.memory,
        walltime=arguments.walltime,
        log_directory=f"{arguments.output}-logs",
        death_timeout=300,  # a job whose scheduler is gone ends itself
    ) as cluster:
        cluster.scale(jobs=arguments.jobs)
        engine = DaskCluster(cluster.scheduler_address, deadline_s=600)
        dataset = convert(conversion, arguments.output, engine=engine)
    print(dataset.ledger.cut_flow())
    print(f"{len(dataset)} events in {arguments.output}")


if __name__ == "__main__":  # Dask starts processes of its own
    main()
