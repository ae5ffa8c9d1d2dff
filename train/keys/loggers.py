"""Keys of loggers (train/loggers.py)."""

from importlib.util import find_spec
from typing import Literal

from pydantic import Field

from pipelines.section import Section


class LoggerKeys(Section):
    """Where figures go besides metrics.jsonl, which is always written."""

    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] = []
    """Each gets every step's figures and every evaluation's, under the names of metrics.jsonl. tensorboard: files in
    train/<run>/tensorboard; wandb: Weights & Biases, set up by its own environment variables (WANDB_API_KEY,
    WANDB_MODE=offline); mlflow: the server that MLFLOW_TRACKING_URI names, train/<run>/mlflow where it names none.
    Empty turns them off."""
    logger_project: str = Field("palimpsest", min_length=1)
    """Project of Weights & Biases, experiment of MLflow."""

    def check_loggers(self) -> None:
        """Raises ValueError where a logger's package is not installed, naming the extra that brings it."""
        for name in self.loggers:
            if find_spec(name) is None:
                raise ValueError(
                    f"train.loggers: {name} is asked for, but its package is not installed, so nothing could be logged "
                    f"there. Install palimpsest[{name}], or take it out of train.loggers."
                )
