"""The live torchtitan model through lm-eval: equal to lm-eval's own HFLM, whatever the ranks, and left as it was."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from eval import answers, hugging_face
from eval import run as eval_run
from eval.answers import Answers
from tests.eval import trainable
from tests.train import small
from train import records

REPO = Path(answers.__file__).parents[1]
LONG = " ".join(f"dose {17 * number % 101} daily" for number in range(90))
"""More than the model sees at once, without repeats: for windows that are alike lm-eval's HFLM adds up wrong tokens."""
TEXTS = ["Patient with fever and", "river harvest", "β-blocker naïve", "", "acute renal failure " * 12]


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    """lm-eval's requests of one kind."""
    instance = pytest.importorskip("lm_eval.api.instance", reason="lm-eval (extra `eval`) is not installed")
    return [instance.Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


def asked() -> dict[str, list[Any]]:
    """Requests of all three kinds, with contexts empty, short, longer than the model sees, and shared."""
    pairs = [(text, f" {end}") for text in TEXTS for end in ("patient", "winter", "chart of the day", "40 mg")]
    until = {"until": ["e"], "max_gen_toks": 24, "do_sample": False}
    return {
        "loglikelihood": requests("loglikelihood", *pairs, ("fever " * 200, " fever")),
        "loglikelihood_rolling": requests("loglikelihood_rolling", *[(text,) for text in [*TEXTS[:3], LONG]]),
        "generate_until": requests("generate_until", *[(text, until) for text in [*TEXTS[:3], "fever " * 200]]),
    }


def test_answers_equal_those_of_lm_eval_itself(tmp_path: Path) -> None:
    small.make_tokenizer(tmp_path / "model")
    folder = small.make_model(tmp_path / "model")
    theirs, ours = hflm(folder), over_transformers(folder)
    for kind, instances in asked().items():
        same(getattr(ours, kind)(instances), getattr(theirs, kind)(instances))


def test_rows_that_share_all_but_the_last_token_are_one_pass() -> None:
    shapes = []

    def forward(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shapes.append(labels.shape)
        return np.where(labels == 7, 0.5, 2.0), np.full(inputs.shape, 7)

    model = Answers(forward, lambda _: "", 8)
    assert model.score([((1, 2, 7), 1), ((1, 2, 9), 1), ((1, 2, 7), 1)]) == [(-0.5, True), (-2.0, False), (-0.5, True)]
    assert shapes == [(1, 2, 2)]
    assert model.score([((1, 7, 7), 2)]) == [(-1.0, True)]


def test_more_than_the_model_sees_is_an_error() -> None:
    with pytest.raises(ValueError, match="an answer of 9 tokens does not fit in the model's context of 8"):
        Answers(lambda *_: (np.zeros(0), np.zeros(0)), lambda _: "", 8).score([(tuple(range(12)), 9)])


def test_writing_stops_at_an_end_and_at_a_stop_string() -> None:
    def forward(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(labels.shape), (inputs + 1) % 50

    model = Answers(forward, lambda tokens: "".join(chr(96 + token) for token in tokens), 64)
    assert model.write([[1], [20], [1]], 10, [5], []) == [[2, 3, 4, 5], list(range(21, 31)), [2, 3, 4, 5]]
    assert model.write([[1]], 10, [], ["de"]) == [[2, 3, 4, 5]]


def hflm(folder: Path, **options: Any) -> Any:
    """lm-eval's own model."""
    pytest.importorskip("accelerate", reason="accelerate, which lm-eval's HFLM needs, is not installed")
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval (extra `eval`) is not installed")
    return huggingface.HFLM(str(folder), device="cpu", dtype="float32", batch_size=4, **options)


def over_transformers(folder: Path) -> Any:
    """Ours over a transformers model."""
    live_model = pytest.importorskip("eval.live_model", reason="lm-eval (extra `eval`) is not installed")
    from tokenization.encode import load

    model = hugging_face.load(folder)
    length = model.config.max_position_embeddings
    return live_model.LiveModel(Answers(hugging_face.answers(model), load(folder).decode, length), folder)


def same(ours: list[Any], theirs: list[Any]) -> None:
    """Equal texts and greedy marks; log-likelihoods to 1e-4."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, str):
            assert one == other
        elif isinstance(one, tuple):
            assert one[1] == other[1] and one[0] == pytest.approx(other[0], abs=1e-4)
        else:
            assert one == pytest.approx(other, rel=1e-5)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that can be trained in."""
    return trainable.make(tmp_path_factory.mktemp("live"))


def test_the_live_model_on_two_ranks_equals_lm_eval_on_the_exported_model(mixed: Path, tmp_path: Path) -> None:
    """tests/eval/live.py checks besides that answers do not depend on the ranks, and that nothing is disturbed."""
    out = tmp_path / "answers.json"
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "tests.eval.live"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *launcher, str(mixed), str(out)], cwd=REPO, env=environment, check=True, timeout=240
    )
    theirs = hflm(mixed.parents[1] / "exported")
    for (kind, instances), ours in zip(asked().items(), json.loads(out.read_text()), strict=True):
        pairs = [tuple(one) if isinstance(one, list) else one for one in ours]
        same(pairs, getattr(theirs, kind)(instances))


@pytest.fixture(scope="module")
def trained(mixed: Path) -> Path:
    """The run after training with tasks on both tracks."""
    small.train(mixed)
    return mixed


def test_scores_of_a_run_equal_those_of_lm_eval_on_the_exported_model(trained: Path) -> None:
    from eval import benchmarks

    theirs = hflm(trained / "train" / "main" / "export", max_length=128)
    files = sorted(str(path) for path in (trained.parents[1] / "data" / "bench").iterdir())
    for track, names in (("domain", ["med_facts"]), ("general", ["world_facts", "story_endings"])):
        expected = benchmarks.score(theirs, benchmarks.load(names, files, 12, False, "file"))
        found = pl.read_parquet(trained / "train" / "main" / "items" / "step-6.parquet").filter(track=track)
        assert found.drop("track").equals(expected) and expected.height == 12 * len(names)


def test_tracks_are_measured_when_they_are_due(trained: Path) -> None:
    lines = [line for line in records.read(trained / "train" / "main" / "metrics.jsonl") if "eval" in line]
    domain, general = {"domain/med_facts"}, {"general/world_facts", "general/story_endings"}
    tasks = {line["step"]: {name for name in line["eval"] if "/" in name} for line in lines}
    assert tasks == {0: domain | general, 1: general, 2: set(), 4: domain, 5: general, 6: domain | general}
    for line in lines:
        assert {"domain_bits_per_byte", "general_bits_per_byte"} <= set(line["eval"])
        assert all(0 <= line["eval"][name] <= 100 for name in tasks[line["step"]])
        assert set(line.get("changes", {})) == (tasks[line["step"]] if line["step"] else set())
    last = lines[-1]
    for name, change in last["changes"].items():
        assert change["change"] == pytest.approx(last["eval"][name] - lines[0]["eval"][name])
        assert change["low"] <= change["change"] <= change["high"]


def test_eval_run_agrees_with_the_run_and_says_what_was_removed(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eval_run.main([str(trained)])
    scores = json.loads((trained / "eval" / "scores.json").read_text())
    lines = [line for line in records.read(trained / "train" / "main" / "metrics.jsonl") if "eval" in line]
    for name, task in scores["tasks"].items():
        assert task["base"] == pytest.approx(lines[0]["eval"][name])
        assert task["trained"] == pytest.approx(lines[-1]["eval"][name])
        assert {key: task[key] for key in lines[-1]["changes"][name]} == lines[-1]["changes"][name]
    assert scores["contamination"]["med_facts"] == {"items": 20, "not_asked": 0, "removed": 0, "held": 0}
    assert "asked to remove 20 of 20 items" in capsys.readouterr().out
    stored = pl.read_parquet(trained / "eval" / "items-trained.parquet")
    assert stored.equals(pl.read_parquet(trained / "train" / "main" / "items" / "step-6.parquet"))
