"""A pass under one of datatrove's executors: processes of this machine, a Ray cluster, or array jobs of Slurm.

`execute` comes back when every task is done. A task is done when its completion marker lies in the pass's log folder,
whatever the engine says; so what follows (a reduction, the next pass) always sees all of it, on a file system that all
nodes share. Tasks write each file whole or not at all and their bytes depend on nothing but their parts, so a task may
be run again anywhere.
"""

import contextlib
import ctypes
import importlib.util
import io
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import multiprocess
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from curate import dead_workers
from curate.config import Executor
from curate.files import identity

DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""

_forking: list[bool] = []
"""Not empty while children are to end with this process."""


class _Local(LocalPipelineExecutor):
    """datatrove's local executor with its console output left to the log file of each task."""

    def run(self) -> Any:
        with _forked_end_with_us(), dead_workers.told(Path(self.logging_dir.path)):
            return super().run()

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        if multiprocess.parent_process():
            _end_with_parent()
        at_work = dead_workers.at_work(Path(self.logging_dir.path), rank)
        with at_work, contextlib.redirect_stderr(io.StringIO()):
            return super()._run_for_rank(rank, local_rank, node_rank)


class _Ray(RayPipelineExecutor):
    """datatrove's Ray executor, whose tasks run where the command does and share the fate of their worker."""

    def __init__(self, *arguments: Any, **keys: Any):
        super().__init__(*arguments, **keys)
        self.folder = os.getcwd()

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        _end_with_parent()
        with _ends_parent(), contextlib.redirect_stderr(io.StringIO()):
            os.chdir(self.folder)
            return super()._run_for_rank(rank, local_rank, node_rank)


class _Slurm(SlurmPipelineExecutor):
    """datatrove's Slurm executor without the job that adds up statistics, which nothing reads."""

    def launch_merge_stats(self) -> None:
        pass


def execute(engine: Executor, steps: list[PipelineStep], tasks: int, folder: Path, preload: list[str]) -> None:
    """Run the tasks of a pass that are not done yet and wait for them; logs and markers lie in `folder`.

    `preload` are modules that local worker processes find imported. Raises ValueError where the engine is not there or
    a task is not done at the end, naming its log; in a local task, what the task raises.
    """
    logger.remove()
    _forget_other_tasks(folder, tasks)
    executor = _executor(engine, steps, tasks, folder, preload)
    for task in _missing(folder, tasks):
        _log(folder, task).unlink(missing_ok=True)  # what it says of a failure before is not to be told of the next one
    # sbatch --wait ends as the job does; what is missing then is told of below.
    with _outside_jobs(), contextlib.suppress(subprocess.CalledProcessError):
        executor.run()
    if missing := _missing(folder, tasks):
        raise ValueError(_not_done(engine, folder, missing, tasks))


def execute_here(steps: list[PipelineStep], folder: Path) -> None:
    """Run a pass of one task in this process."""
    execute(Executor(workers=1), steps, 1, folder, [])


def _executor(
    engine: Executor, steps: list[PipelineStep], tasks: int, folder: Path, preload: list[str]
) -> PipelineExecutor:
    common = {"tasks": tasks, "workers": min(engine.workers, tasks), "logging_dir": str(folder.resolve())}
    if engine.kind == "local":
        # Workers are forked from a server that has the slow imports done; nothing in it has started threads.
        multiprocess.set_forkserver_preload(preload)
        return _Local(steps, **common)
    share = {"cpus_per_task": engine.cpus, "mem_per_cpu_gb": engine.memory}
    if engine.kind == "ray":
        _connect()
        _check_fits(engine)
        return _Ray(steps, **common, **share)
    if not shutil.which("sbatch"):
        raise ValueError(
            "executor: kind: slurm needs Slurm's `sbatch`, which this machine does not have. Start the command on a "
            "login node, or take another kind."
        )
    if not re.fullmatch(r"[\w./+=@:-]+", str(folder.resolve())):
        raise ValueError(
            f"output: {folder.resolve()} stands in the batch scripts that Slurm runs, and has characters that mean "
            "something else there. Name a run folder of letters, digits and . / + = @ : _ - only."
        )
    # `wait`: sbatch comes back with the jobs' end. `singleton`: what a killed command left in the queue ends first.
    arguments = {"wait": "", "dependency": "singleton", **engine.sbatch}
    return _Slurm(
        steps,
        **common,
        **share,
        partition=engine.partition,
        time=str(max(1, round(engine.hours * 60))),
        job_name=f"palimpsest-{identity(str(folder.parent.resolve()))}",
        qos=None,
        mail_type=None,
        env_command=f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH",
        sbatch_args=arguments,
    )


def _connect() -> None:
    """Join the Ray cluster. Raises ValueError where Ray is not installed or not running."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError("executor: kind: ray needs Ray, which is not installed: pip install 'palimpsest[ray]'")
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ValueError(
            f"executor: kind: ray found no cluster ({error}). Start one (`ray start --head` on this machine, "
            "`ray start --address HEAD:6379` on others) or set RAY_ADDRESS."
        ) from None


def _check_fits(engine: Executor) -> None:
    """Raises ValueError where no node has what a task asks for: it would wait for ever."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": engine.cpus, "memory": engine.cpus * engine.memory << 30}
    if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        largest = ", ".join(
            f"{node.get('CPU', 0):g} cores and {node.get('memory', 0) / 2**30:.1f} GiB" for node in nodes
        )
        raise ValueError(
            f"executor: cpus, memory: a task asks Ray for {engine.cpus} cores and {engine.cpus * engine.memory} GiB, "
            f"which no node has ({largest}), so it would wait for ever. Lower cpus or memory (GiB a core)."
        )


def _forget_other_tasks(folder: Path, tasks: int) -> None:
    """Drop markers left by a run of this pass that was cut into another number of tasks: they mean other parts."""
    with contextlib.suppress(FileNotFoundError):
        try:
            found = json.loads((folder / "executor.json").read_text())["world_size"]
        except ValueError:  # killed while writing it, before any task
            found = None
        if found != tasks:
            shutil.rmtree(folder)


def _missing(folder: Path, tasks: int) -> list[int]:
    """Tasks without a marker, asked for by name: a network file system may list for a while what was there before."""
    return [task for task in range(tasks) if not (folder / "completions" / f"{task:05d}").exists()]


def _log(folder: Path, task: int) -> Path:
    return folder / "logs" / f"task_{task:05d}.log"


def _not_done(engine: Executor, folder: Path, missing: list[int], tasks: int) -> str:
    log = _log(folder, missing[0])
    said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
    what = f"{len(missing)} of {tasks} tasks are not done on {engine.kind}"
    if said:
        return f"{log}: {what}; the first of them ends with: {said[0][:1000]}"
    jobs = f" What sbatch said stands above, its job's output in {folder / 'slurm_logs'}." * (engine.kind == "slurm")
    return (
        f"{log}: {what}, and the first of them left no log: it was killed (memory: {engine.memory} GiB a core?), or "
        f"its node does not see {folder.resolve()}, which must be on a file system that all nodes share.{jobs} Run the "
        "command again to go on with what is not done."
    )


@contextlib.contextmanager
def _outside_jobs() -> Iterator[None]:
    """Meanwhile without the variables of the Slurm job that this command may itself be: sbatch would obey them."""
    taken = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SLURM_") and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(taken)


def _end_with_parent() -> None:
    """Have Linux end this process when the one that started it is killed: its task is about to be run again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


@contextlib.contextmanager
def _forked_end_with_us() -> Iterator[None]:
    """Meanwhile, what this process forks ends with it, as datatrove's process of queues by itself would not."""
    _hook_forks()
    _forking.append(True)
    try:
        yield
    finally:
        _forking.pop()


@cache
def _hook_forks() -> None:
    os.register_at_fork(after_in_child=lambda: _end_with_parent() if _forking else None)


@contextlib.contextmanager
def _ends_parent() -> Iterator[None]:
    """While a task runs, end Ray's worker when this process is killed: datatrove's pool in it would wait for ever."""
    watch = f"tail --pid={os.getpid()} -f /dev/null; kill -9 {os.getppid()}"
    watcher = subprocess.Popen(["sh", "-c", watch])
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()
