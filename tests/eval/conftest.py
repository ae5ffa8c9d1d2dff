"""A run after curation, and one after training."""

import shutil
from pathlib import Path

import pytest

from curate.files import write_json
from eval import run as eval_run
from pipelines import config
from tests.eval import forgetful as provoked
from tests.eval import small_run


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random Llamas with their tokenizers: base and trained."""
    root = tmp_path_factory.mktemp("models")
    small_run.make_model(root / "base", seed=1)
    small_run.make_model(root / "trained", seed=2)
    return root


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run after curation: 40 documents and 12 held-out ones per source, a ledger, a manifest, a pipeline file."""
    folder = tmp_path / "runs" / "small"
    for pool, sources in small_run.SOURCES.items():
        for source in sources:
            small_run.write_documents(folder, "documents", pool, source, small_run.documents(pool, source, 40, 0))
            small_run.write_documents(folder, "held_out", pool, source, small_run.documents(pool, source, 12, 1000))
    small_run.write_ledger(folder)
    small_run.write_edits(folder)
    write_json(folder / "manifest.json", small_run.manifest())
    config.save(small_run.pipeline(folder, tmp_path), folder / "pipeline.yaml")
    return folder


@pytest.fixture
def trained_run(run: Path, models_folder: Path, tmp_path: Path) -> Path:
    """The same run after training: the base model where the pipeline says, export, metrics and journal."""
    shutil.copytree(models_folder / "base", tmp_path / "base")
    shutil.copytree(models_folder / "trained", run / "train" / "main" / "export")
    small_run.make_tokenizer(run / "tokenizer")
    small_run.write_analysis(run)
    small_run.write_mixture(run)
    small_run.write_training(run)
    return run


@pytest.fixture
def whole_run(trained_run: Path) -> Path:
    """The trained run with its scores."""
    eval_run.score(config.load(trained_run / "pipeline.yaml"))
    return trained_run


@pytest.fixture(scope="session")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a training run that forgets, and the same one with the controller (tests/eval/forgetful.py)."""
    return provoked.make(tmp_path_factory.mktemp("forgetful"))
