"""A real Slurm of this machine alone: munged, slurmctld and slurmd in a folder, started and ended by hand.

Debian: `apt-get install slurm-wlm munge`. Two cores and two made-up GPUs, so that scripts that ask for GPUs run; the
programs see none.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
CORES = 2
GPUS = ("/dev/null", "/dev/zero")
"""Slurm asks for a device file of each."""
# MinJobAge: sbatch --wait looks every 2 s, with the default of 300 after 2, 8 and then every 32 s.
CONFIGURATION = """
ClusterName=palimpsest
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=60
MinJobAge=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Programs of Slurm and munge that are not on PATH, /usr/sbin included."""
    return [name for name in PROGRAMS if not _which(name)]


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Start the three daemons; SLURM_CONF leads Slurm's commands to them. Raises RuntimeError with their logs."""
    (folder / "state").mkdir(parents=True)
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.touch(0o400)
    os.chmod(key, 0o600)
    key.write_bytes(secrets.token_bytes(128))
    os.chmod(key, 0o400)
    host, user = socket.gethostname().split(".")[0], subprocess.check_output(["id", "-un"], text=True).strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 >> 20
    values = {"host": host, "user": user, "folder": folder, "cores": CORES, "gpus": len(GPUS), "memory": memory}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(ports=_free_ports(2), **values))
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in GPUS))
    files = {"key-file": key, "socket": folder / "munge.socket"}
    files |= {f"{kind}-file": folder / f"munge.{kind}" for kind in ("pid", "log", "seed")}
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    with contextlib.ExitStack() as daemons:
        daemons.callback(lambda: os.environ.update(SLURM_CONF=before) if before else os.environ.pop("SLURM_CONF"))
        _daemon(daemons, "munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items()))
        _daemon(daemons, "slurmctld", "-D", "-c")
        _daemon(daemons, "slurmd", "-D", "-c")
        daemons.callback(_cancel_all)
        _until_idle(folder)
        yield


def _daemon(daemons: contextlib.ExitStack, name: str, *arguments: str) -> None:
    program = _which(name)
    assert program
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end() -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        process.kill()
        process.wait()

    daemons.callback(end)


def _cancel_all() -> None:
    """End the jobs that a failed test left, or their processes would outlive the daemons."""
    subprocess.run(["scancel", "--signal=KILL", "--full", f"--user={os.getuid()}"])
    subprocess.run(["scancel", f"--user={os.getuid()}"])
    deadline = time.monotonic() + 30
    while subprocess.check_output(["squeue", "--noheader"]) and time.monotonic() < deadline:
        time.sleep(0.5)


def _until_idle(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True)
        if found.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = [f"{path}:\n{path.read_text(errors='replace')[-1500:]}" for path in sorted(folder.glob("*.log"))]
    raise RuntimeError("Slurm's node did not become idle within 60 s.\n" + "\n".join([found.stderr, *logs]))


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
