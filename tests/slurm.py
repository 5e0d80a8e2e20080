"""A SLURM of one node, made of Debian's slurm-wlm and munge, for the tests and the benchmark of the workflow."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
MISSING = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
OverTimeLimit=0
KillWait=30
MinJobAge=86400
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A running SLURM."""

    def __init__(self, folder: Path) -> None:
        self.node = socket.gethostname().split(".")[0]
        # A job step drops SLURM_CONF from the environment, so `srun` has to bring it along.
        wrapped = folder / "bin" / "srun"
        wrapped.parent.mkdir()
        configuration = folder / "slurm.conf"
        wrapped.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun", path=PATH)} "$@"\n')
        wrapped.chmod(0o755)
        self.environment = {"SLURM_CONF": str(configuration), "PATH": f"{wrapped.parent}{os.pathsep}{PATH}"}

    def call(self, *words: str) -> str:
        """Call a command of SLURM; its output."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def jobs(self, *states: str) -> list[str]:
        """The jobs in some states, all by default, oldest first."""
        return self.call("squeue", "-h", "-S", "i", "-o", "%i", "-t", ",".join(states) or "all").split()


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _daemon(environment: dict[str, str], *command: str) -> Iterator[None]:
    """A process in the background, ended with the block."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def running(cores: int) -> Iterator[Cluster]:
    """A SLURM on the loopback, as the user of this process, in a temporary folder; all its jobs end with the block."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    cluster = Cluster(folder)
    environment = {**os.environ, **cluster.environment}
    port, node_port = _free_ports(2)
    facts = {"host": cluster.node, "user": getpass.getuser(), "folder": folder, "cores": cores}
    configuration = CONFIGURATION.format(port=port, node_port=node_port, **facts)
    (folder / "slurm.conf").write_text(configuration)
    places = [f"--{name}={folder}/munge.{end}" for name, end in (("socket", "socket"), ("pid-file", "pid"))]
    places += [f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed", f"--key-file={key}"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_daemon(environment, "munged", "--foreground", "--force", *places))
        _wait_for(lambda: (folder / "munge.socket").exists())
        stack.enter_context(_daemon(environment, "slurmctld", "-D", "-c"))
        stack.enter_context(_daemon(environment, "slurmd", "-D", "-N", cluster.node))
        _wait_for(lambda: "idle" in cluster.call("sinfo", "-h", "-o", "%T"))
        stack.callback(_end_all_jobs, cluster)
        yield cluster


def _end_all_jobs(cluster: Cluster) -> None:
    """Cancel what still runs or waits."""
    cluster.call("scancel", "--user", getpass.getuser())
    _wait_for(lambda: not cluster.jobs("running", "completing", "pending"))


def _wait_for(is_so, seconds: float = 60) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if is_so():
                return
        except subprocess.CalledProcessError:
            pass  # not there yet
        time.sleep(0.2)
    raise TimeoutError("SLURM did not come up, or did not end its jobs")
