"""DoReMi's loss: weighted where it trains, plain where it measures, its excess as worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from curate.files import write_json
from mix.loader import Loader
from mix.plan_file import read_plan
from pipelines import config
from tests.train import small
from train import group_dro, settings
from train.group_dro import SourceLoss
from train.loss import PoolLoss, token_nats

ROWS, LENGTH, VOCABULARY = 6, 8, 11
POOL_OF = np.array([0, 0, 1])
SOURCE = torch.tensor([0, 1, 2, 1, 0, 2])


def batch() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Logits [B, L, V], labels [B, L] with some that are not predicted, and nats of a reference [B, L]."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, LENGTH, VOCABULARY, generator=draw)
    labels = torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=draw)
    labels[0, 5:] = -100
    reference = 3 * torch.rand(ROWS, LENGTH, generator=draw).numpy()
    return logits, labels, reference


def made(reference: np.ndarray) -> SourceLoss:
    return SourceLoss(SourceLoss.Config(reference=reference, pool_of=POOL_OF))


def run(loss: PoolLoss, groups: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient, in two batches of two pieces each."""
    leaf = logits.clone().requires_grad_()
    for rows in (slice(0, 3), slice(3, 6)):
        loss.begin(groups[rows])
        for piece in (slice(0, 4), slice(4, 8)):
            total, _ = loss(leaf[rows, piece], labels[rows, piece])
            total.backward()
    assert leaf.grad is not None
    return leaf.grad


def test_with_factors_of_one_it_is_the_loss_by_pool() -> None:
    logits, labels, reference = batch()
    loss, plain = made(reference), PoolLoss(PoolLoss.Config())
    found = run(loss, SOURCE, logits, labels)
    assert torch.equal(found, run(plain, torch.from_numpy(POOL_OF)[SOURCE], logits, labels))
    assert torch.equal(loss.take(), plain.take())


def test_a_sources_factor_weighs_its_rows_and_nothing_that_is_logged() -> None:
    logits, labels, reference = batch()
    loss, weighted = made(reference), made(reference)
    weighted.factors[:] = torch.tensor([0.5, 2.0, 1.0])
    plain = run(loss, SOURCE, logits, labels)
    torch.testing.assert_close(run(weighted, SOURCE, logits, labels), plain * weighted.factors[SOURCE][:, None, None])
    assert torch.equal(weighted.take(), loss.take())
    assert (weighted.take_excess() == loss.take_excess()).all()


def test_the_excess_is_that_of_each_token_at_least_zero() -> None:
    logits, labels, reference = batch()
    loss = made(reference)
    run(loss, SOURCE, logits, labels)
    nats = token_nats(logits, labels).numpy()
    by_row = (np.maximum(nats - reference, 0) * (labels != -100).numpy()).sum(1)
    found = loss.take_excess()
    assert found[0] == pytest.approx(np.bincount(SOURCE, weights=by_row), rel=1e-5)
    assert found[1].tolist() == [13, 16, 16] and loss.position == ROWS
    assert not loss.take_excess().any()


def test_measuring_takes_no_rows() -> None:
    logits, labels, reference = batch()
    loss = made(reference)
    loss.factors[:] = 0
    with loss.row_by_row(ROWS) as nats:
        loss(logits, labels)
        assert nats().numpy() == pytest.approx(token_nats(logits, labels).sum(1).numpy())
    assert loss.position == 0 and not loss.take_excess().any()


def test_the_reference_sees_a_document_at_a_time(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from mix import build

    folder = tmp_path / "run"
    small.make_tokenizer(folder / "tokenizer")
    model = small.make_model(tmp_path / "base")
    for pool in ("domain", "replay"):
        small.write_documents(folder / "documents" / pool / "source", pool, "source", range(20))
    config.save(small.pipeline(folder, model, steps=2, warmup_steps=1), folder / "pipeline.yaml")
    build.main([str(folder)])
    write_json(folder / "train" / "main" / "config.json", {})
    found = settings.resolve(config.load(folder / "pipeline.yaml"))
    table = group_dro.measure(found, model)
    assert table.shape == (16, small.SEQ_LEN) and table.dtype == np.float32
    rows = Loader(read_plan(folder / "mixture.json"), folder / "packed", 8).batch(0, 16)
    learner = AutoModelForCausalLM.from_pretrained(model).eval()
    for row in range(16):
        starts = np.flatnonzero(rows.positions[row] == 0).tolist()
        for start, end in zip(starts, [*starts[1:], small.SEQ_LEN], strict=True):
            with torch.no_grad():
                logits = learner(torch.from_numpy(rows.input[row : row + 1, start:end])).logits
            wanted = token_nats(logits, torch.from_numpy(rows.labels[row : row + 1, start:end]))[0]
            assert table[row, start:end] == pytest.approx(wanted.numpy(), abs=2e-4)
    assert (np.load(found.folder / group_dro.REFERENCE) == table).all()
