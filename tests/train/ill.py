"""Training runs that fall ill at given rows: `python -m tests.train.ill RUN JSON`.

JSON is a list of starts, made one after the other, each in processes forked from this one, so that torch is loaded
once. A start is {"keys": ["--train.run", "x", ...], "ill": {first row of a batch: illness}, and optional}:

- "decide": {step: [event, details]}, decided by an extension in the first attempt at that step
- "kill_at": step, "attempt": n: the process kills itself with signal 9 at the end of that step, after n roll-backs
- "kill_in": name of a function of train.rollback that kills the process instead of being called
- "signal_at": step, "signal": number: the process (of two, the second one) sends itself a signal in that step
- "processes": 2

Illnesses: `gradient` adds 1000 to one gradient, `nan` makes one gradient NaN, `weights` makes one weight NaN, so that
the loss of the next step is. Prints a line of JSON: per start the exit status of each process, and its output.
"""

import json
import os
import signal
import socket
import sys
import tempfile
from typing import Any

import torch

from pipelines import cli
from train import rollback
from train.configure import configure
from train.extension import Extension
from train.trainer import ContinuedTrainer


class Illness(Extension):
    """Spoils the gradients or weights of given rows, decides what it is told to, ends its process."""

    name = "illness"

    def __init__(self, start: dict[str, Any]):
        self._start = start
        self.decided: list[str] = []
        self.rolled_back = 0

    def add_gradients(self, trainer: ContinuedTrainer) -> None:
        gradient = first_weight(trainer).grad
        assert gradient is not None
        ill = self._start.get("ill", {}).get(str(trainer.dataloader.rows - trainer.config.training.global_batch_size))
        if ill in ("gradient", "nan"):
            gradient += 1000.0 if ill == "gradient" else float("nan")
        if ill == "weights":
            with torch.no_grad():
                first_weight(trainer).fill_(float("nan"))
        if (
            self._start.get("signal_at") == trainer.step
            and int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1
        ):
            os.kill(os.getpid(), self._start["signal"])

    def finish_step(self, trainer: ContinuedTrainer, figures: dict[str, Any]) -> None:
        name, details = self._start.get("decide", {}).get(str(trainer.step), ("", {}))
        if name and name not in self.decided:
            trainer.decide(name, **details)
            self.decided.append(name)
        attempt = trainer.decisions.roll_backs == self._start.get("attempt", 0)
        if self._start.get("kill_at") == trainer.step and attempt:
            os.kill(os.getpid(), signal.SIGKILL)

    def roll_back(self, trainer: ContinuedTrainer, event: dict[str, Any]) -> None:
        self.rolled_back += 1
        assert trainer.step == event["to"] and self.rolled_back <= trainer.decisions.roll_backs


def first_weight(trainer: ContinuedTrainer) -> torch.nn.Parameter:
    """Some weight of the model."""
    (part,) = trainer.model_parts
    return next(part.parameters())


def train(run: str, start: dict[str, Any]) -> None:
    """What train.launch does, with the illness after the extensions of the keys."""
    import train.configure as module

    def with_illness(found: Any) -> ContinuedTrainer.Config:
        config = configure(found)
        config.extensions.append(Illness(start))
        return config

    setattr(module, "configure", with_illness)  # noqa: B010
    if "kill_in" in start:
        setattr(rollback, start["kill_in"], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    from train import launch

    cli.run(lambda: launch.main([run, *start["keys"]]))


def fork(run: str, start: dict[str, Any], rank: int, world: int, port: int) -> tuple[int, str]:
    """A forked process that makes the start: its id, and the file that its output goes to."""
    output = tempfile.NamedTemporaryFile("r", delete=False).name
    process = os.fork()
    if process:
        return process, output
    descriptor = os.open(output, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", world), ("LOCAL_WORLD_SIZE", world)):
        os.environ[name] = str(value)
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    status = 1
    try:
        train(run, start)
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def warm(run: str) -> None:
    """Load and compile here what every start would for itself."""
    import train.export  # noqa: F401
    from mix.loader import Loader
    from mix.plan_file import read_plan

    Loader(read_plan(f"{run}/mixture.json"), f"{run}/packed", 1).batch(0, 1)


def main() -> None:
    """Make the starts."""
    run, starts = sys.argv[1], json.loads(sys.argv[2])
    warm(run)
    results = []
    for start in starts:
        world, port = start.get("processes", 1), free_port()
        processes = [fork(run, start, rank, world, port) for rank in range(world)]
        statuses = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process, _ in processes]
        outputs = []
        for _, path in processes:
            with open(path) as file:
                outputs.append(file.read())
            os.unlink(path)
        results.append({"status": statuses, "output": "\n".join(outputs)})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
