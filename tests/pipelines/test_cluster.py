"""The Slurm script: what it asks for, what it would start on each node, and when it queues itself again.

There is no Slurm here. srun and scontrol are small scripts that write down their arguments; the script itself and
torchrun's parser are the real ones.
"""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import REPO

SCRIPT = REPO / "pipelines" / "cluster" / "train.slurm"
JOB = {"SLURM_JOB_ID": "4312345", "SLURM_JOB_NUM_NODES": "4", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_NODELIST": "n[1-4]"}
RUN = ("runs/clinical", "--train.data_parallel_replicate", "4")


def start(folder: Path, srun: str, *arguments: str) -> subprocess.Popen[str]:
    """The script as Slurm would start it; `srun` is what its srun does after writing down its arguments."""
    commands = {
        "srun": f'printf "%s\\n" "$@" > {folder}/srun\n{srun}',
        "scontrol": f'echo "$@" >> {folder}/scontrol\n[ "$1" = show ] && printf "n1\\nn2\\nn3\\nn4\\n" || true',
    }
    for name, body in commands.items():
        (folder / name).with_suffix(".sh").write_text(f"#!/bin/bash\n{body}\n")
        (folder / "bin").mkdir(exist_ok=True)
        (folder / name).with_suffix(".sh").rename(folder / "bin" / name)
        (folder / "bin" / name).chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    environment = os.environ | JOB | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.Popen(["bash", str(SCRIPT), *arguments], cwd=folder, env=environment, text=True)


def test_it_asks_for_what_its_header_says() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.MULTILINE))
    assert (asked["nodes"], asked["ntasks-per-node"], asked["gpus-per-node"]) == ("4", "1", "8")
    assert asked["signal"] == "B:USR1@300" and "requeue" in asked and asked["open-mode"] == "append"


def test_torchrun_understands_what_it_starts_and_the_trainer_gets_its_arguments(tmp_path: Path) -> None:
    from torch.distributed.run import get_args_parser

    assert start(tmp_path, "exit 0", *RUN).wait(timeout=30) == 0
    given = (tmp_path / "srun").read_text().splitlines()
    options = get_args_parser().parse_args(given[given.index("torchrun") + 1 :])
    assert (options.nnodes, options.nproc_per_node, options.rdzv_backend) == ("4", "8", "c10d")
    assert (options.rdzv_endpoint, options.rdzv_id) == ("n1:22345", "4312345")
    assert options.module and options.training_script == "train.launch"
    assert options.training_script_args == list(RUN)
    assert "SIGUSR1" in options.signals_to_handle
    seconds = int(re.findall(r"USR1@(\d+)", SCRIPT.read_text())[0])
    assert 30 < options.shutdown_timeout < seconds
    assert "requeue" not in (tmp_path / "scontrol").read_text()


def test_before_the_time_limit_the_signal_is_handed_on_and_the_job_queued_again(tmp_path: Path) -> None:
    """The step takes a while to save; its status, as torchrun's after a signal, is not 0."""
    saving = (
        f"trap 'sleep 0.5; touch {tmp_path}/saved; exit 1' USR1\ntouch {tmp_path}/ready\nwhile :; do sleep 0.1; done"
    )
    script = start(tmp_path, saving, *RUN)
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline and script.poll() is None
        time.sleep(0.02)
    script.send_signal(signal.SIGUSR1)
    assert script.wait(timeout=30) == 0
    assert (tmp_path / "saved").exists(), "it waits for the checkpoint"
    assert "requeue 4312345" in (tmp_path / "scontrol").read_text()


@pytest.mark.parametrize(("srun", "status"), [("exit 2", 2), ("exit 0", 0)])
def test_a_run_that_ends_by_itself_is_not_repeated(tmp_path: Path, srun: str, status: int) -> None:
    assert start(tmp_path, srun, *RUN).wait(timeout=30) == status
    assert "requeue" not in (tmp_path / "scontrol").read_text()


def test_without_a_run_folder_it_says_how_to_submit_it(tmp_path: Path) -> None:
    script = start(tmp_path, "exit 0")
    assert script.wait(timeout=30) == 2 and not (tmp_path / "srun").exists()
