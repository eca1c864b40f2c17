#!/usr/bin/env bash
# A real one-node Slurm runs the documented dask-jobqueue script; the dataset must be the one converted without it.
# Needs root and Debian's slurmctld, slurmd, slurm-client and munge (installed if missing).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="$PWD/.venv/bin/python"
export PATH="$PWD/.venv/bin:$PATH:/usr/sbin" OMP_NUM_THREADS=1

for program in slurmctld slurmd sbatch munged; do
  if ! command -v "$program" >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
    break
  fi
done

folder="$(mktemp -d)"
export SLURM_CONF="$folder/slurm.conf"
node="$(hostname -s)"
stop() {
  status=$?
  scancel --user "$(id -un)" 2>/dev/null || true
  for service in slurmd slurmctld munged; do
    if [ -s "$folder/$service.pid" ]; then kill "$(cat "$folder/$service.pid")" 2>/dev/null || true; fi
  done
  if [ "$status" -ne 0 ]; then tail -n 20 "$folder"/*.log >&2 || true; fi
  sleep 1
  rm -rf "$folder"
  exit "$status"
}
trap stop EXIT

# munge: a key and a socket of our own, owned by who runs it
chmod 755 "$folder"
install -d -m 700 "$folder/munge" "$folder/state" "$folder/spool"
install -d -m 755 "$folder/socket"
dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
chmod 600 "$folder/munge/key"
munged --force --key-file "$folder/munge/key" --socket "$folder/socket/munge" --pid-file "$folder/munged.pid" \
  --log-file "$folder/munged.log" --seed-file "$folder/munge/seed" --num-threads 2

cat > "$SLURM_CONF" <<CONF
ClusterName=fivesigma
SlurmctldHost=$node(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$folder/socket/munge
SlurmUser=$(id -un)
SlurmctldPort=17817
SlurmdPort=17818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld -c
slurmd -N "$node"
for _ in $(seq 60); do
  if sinfo --noheader --format %T 2>/dev/null | grep -q idle; then break; fi
  sleep 1
done
sinfo --noheader --format %T | grep -q idle || { echo "the node did not become idle" >&2; exit 1; }

"$PYTHON" docs/scripts/convert_on_slurm.py w-tagging "$folder/with-slurm" --jobs 2 --step 1000 --memory 2GB --walltime 00:10:00
sleep 2  # jobs that were cancelled leave the queue
ended="$(sinfo --version) ran jobs: $(grep -c '_slurm_rpc_submit_batch_job' "$folder/slurmctld.log")"
echo "$ended"
"$PYTHON" integration/compare.py w-tagging 1000 "$folder/with-slurm" "$folder/without"
