"""What a run works with is checked before a model is built."""

import json
import shutil
from pathlib import Path

import pytest

from curate.files import read_json, write_json
from eval.config import EvalConfig
from pipelines.config import Pipeline
from tests.train import small
from train import settings


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("train")))


def base(run: Path) -> Path:
    return run.parents[1] / "base"


def test_a_run_resolves(run: Path) -> None:
    found = settings.resolve(small.pipeline(run, base(run)))
    assert found.weights == base(run) and found.plan.seq_len == small.SEQ_LEN and not found.needs_resizing
    assert settings.resolve(small.pipeline(run, base(run), init="scratch")).weights is None


def test_a_warm_up_without_end_is_refused(run: Path) -> None:
    with pytest.raises(ValueError, match="train.warmup_steps: 24 is not below train.steps"):
        settings.resolve(small.pipeline(run, base(run), warmup_steps=24))


def test_another_tokenizer_than_the_mixtures_is_refused(run: Path, own_run: Path) -> None:
    path = own_run / "tokenizer" / "tokenizer_config.json"
    write_json(path, {"bos_token": "</s>", "eos_token": "<s>"})
    with pytest.raises(ValueError, match="tokenizer.json: is not the tokenizer"):
        settings.resolve(small.pipeline(own_run, base(run)))


def test_rows_longer_than_the_model_sees_are_refused(run: Path, tmp_path: Path) -> None:
    model = small.make_model(tmp_path, max_position_embeddings=32)
    with pytest.raises(ValueError, match="mix.seq_len: 64"):
        settings.resolve(small.pipeline(run, model))


def test_a_model_with_too_few_embedding_rows_is_refused(run: Path, tmp_path: Path) -> None:
    model = small.make_model(tmp_path, vocab_size=100)
    with pytest.raises(ValueError, match="some tokens have no embedding row"):
        settings.resolve(small.pipeline(run, model))


def test_a_missing_model_and_a_missing_mixture_are_named(run: Path, own_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="config.json: is not there"):
        settings.resolve(small.pipeline(run, tmp_path))
    shutil.copy(base(run) / "config.json", tmp_path)
    with pytest.raises(ValueError, match="has no .*safetensors"):
        settings.resolve(small.pipeline(run, tmp_path))
    (own_run / "mixture.json").unlink()
    with pytest.raises(ValueError, match="mixture.json: is not there"):
        settings.resolve(small.pipeline(own_run, base(run)))


def test_a_model_whose_download_was_cut_off_is_named(run: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(base(run), tmp_path / "base"))
    files = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    write_json(model / "model.safetensors.index.json", {"weight_map": files})
    with pytest.raises(ValueError, match="names 1 files that are not in the folder .model-00002-of-00002.safetensors"):
        settings.resolve(small.pipeline(run, model))


@pytest.mark.parametrize(
    ("world", "local", "advice"), [(3, 4, "a multiple of 3"), (2, 3, "train.local_batch to 2"), (8, 4, "to 1")]
)
def test_batches_that_do_not_come_out_even_are_refused_with_advice(
    run: Path, world: int, local: int, advice: str
) -> None:
    pipeline = small.pipeline(run, base(run), local_batch=local)
    with pytest.raises(ValueError, match=f"train.global_batch: 8 .*{advice}"):
        settings.check_batches(pipeline, world)
    settings.check_batches(small.pipeline(run, base(run), local_batch=2), 2)


def test_a_run_with_other_settings_is_refused_by_key(own_run: Path, run: Path) -> None:
    def remember(**changes: object) -> None:
        settings.remember(settings.resolve(small.pipeline(own_run, base(run), **changes)))

    remember(peak_lr=1.0)
    journal = own_run / "train" / "main" / "journal.jsonl"
    journal.write_text('{"event": "learning_rate", "step": 3, "multiplier": 0.5}\n')
    remember(peak_lr=1.0, keep_checkpoints=4)
    assert journal.exists()
    remember()  # nothing was trained yet, so nothing is lost
    assert not journal.exists(), "what was decided under other settings is not decided again"
    checkpoint = own_run / "train" / "main" / "checkpoints" / "step-5"
    checkpoint.mkdir(parents=True)
    remember(peak_lr=1.0)  # a checkpoint that was not finished does not count
    remember()
    (checkpoint / "complete.json").touch()
    remember(local_batch=2, keep_checkpoints=3, checkpoint_every=7, keep_every=14)
    with pytest.raises(ValueError) as error:
        remember(peak_lr=1e-4, steps=30)
    assert "train.peak_lr was 0.003, is 0.0001; train.steps was 24, is 30" in str(error.value)
    assert "another --train.run" in str(error.value)
    remember(peak_lr=1e-4, run="other")

    path = own_run / "train" / "main" / "config.json"
    write_json(path, read_json(path) | {"mixture.json": "another"})
    with pytest.raises(ValueError, match=r"mixture\.json was 'another'"):
        remember()


def test_a_controller_that_never_sees_an_evaluation_is_refused(run: Path) -> None:
    def evaluated(**keys: object) -> Pipeline:
        made = small.pipeline(run, base(run))
        changed = made.eval.model_dump() | {"controller": "ewc"} | keys
        return made.model_copy(update={"eval": EvalConfig.model_validate(changed)})

    for keys in ({"every": 24}, {"held_out": 0.0}, {"held_out": 0.0, "general": ["boolq"], "general_offset": 24}):
        with pytest.raises(ValueError, match="eval.controller: ewc judges .* none are measured between step 0"):
            settings.resolve(evaluated(**keys))
    settings.resolve(evaluated(every=23))
    settings.resolve(evaluated(held_out=0.0, general=["boolq"], general_offset=23))


def test_a_tokenizer_of_its_own_needs_weights_of_its_own(own_run: Path, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "shape"
    model.mkdir()
    shape = json.loads((base(run) / "config.json").read_text()) | {"vocab_size": 7}
    write_json(model / "config.json", shape)
    pipeline = small.pipeline(own_run, model, init="scratch")
    trained = pipeline.model_copy(update={"tokenizer": pipeline.tokenizer.model_copy(update={"train": 320})})
    assert settings.resolve(trained).architecture.vocab == small.VOCABULARY
    continued = trained.model_copy(update={"train": trained.train.model_copy(update={"init": "base"})})
    with pytest.raises(ValueError, match="train.init is base"):
        settings.resolve(continued)
