"""A run folder up to and with its mixture, and a training run in it, made once."""

from pathlib import Path

import pytest

from pipelines import config
from tests.train import small


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder up to and with its mixture; trainings in it need run names of their own."""
    from mix import build

    home = tmp_path_factory.mktemp("train")
    folder = home / "runs" / "small"
    small.curated(folder)
    small.make_model(home / "base", dtype="bfloat16", tie_word_embeddings=True)
    config.save(small.pipeline(folder, home / "base"), folder / "pipeline.yaml")
    build.main([str(folder)])
    return folder


@pytest.fixture(scope="session")
def finished(run: Path) -> tuple[Path, str]:
    """The folder of an uninterrupted training run, and what it printed."""
    return run / "train" / "whole", small.train(run, "--train.run", "whole")
