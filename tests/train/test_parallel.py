"""Two processes learn what one does, however they share the work; what cannot run is refused before it starts."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines import config
from tests.train import several, small
from tests.train.test_launch import metrics
from train import launch, parallelism, records
from train.architecture import Architecture, Rope
from train.keys.parallelism import ParallelismKeys
from train.memory import Layout
from train.parallelism import Found

KEYS = ("--steps", "6", "--warmup-steps", "2", "--checkpoint-every", "3", "--eval.every", "3")
WAYS = {
    "fsdp": (),
    "hsdp": ("--data-parallel-replicate", "2", "--activation-checkpointing", "selective"),
    "tensor": ("--tensor-parallel", "2", "--activation-checkpointing", "full"),
}


@pytest.fixture(scope="module")
def untied(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run over a base whose vocabulary two processes cannot halve evenly, with an output head of its own."""
    home = tmp_path_factory.mktemp("parallel")
    folder = home / "runs" / "small"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("train"))
    small.make_model(home / "base", vocab_size=small.VOCABULARY + 1, intermediate_size=66)
    config.save(small.pipeline(folder, home / "base"), folder / "pipeline.yaml")
    return folder


@pytest.fixture(scope="module")
def one(untied: Path) -> Path:
    """A training run on one process."""
    several.train([[str(untied), "--train.run", "one", *KEYS]], 1)
    return untied / "train" / "one"


@pytest.fixture(scope="module")
def shared(untied: Path) -> Path:
    """The same on two processes for each way to share the work, and once begun in one way and ended in another."""
    moved = untied / "train" / "moved"
    runs = [[str(untied), "--train.run", name, *KEYS, *options] for name, options in WAYS.items()]
    begun = [str(untied), "--train.run", "moved", *KEYS]
    several.train([*runs, [*begun, *WAYS["tensor"]], ["lose", str(moved), "6"], begun], 2)
    return untied / "train"


def check_same(one: Path, other: Path) -> None:
    first, second = metrics(one), metrics(other)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    for expected, found in zip(first, second, strict=True):
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            if key == "eval":
                assert found[key] == pytest.approx(value, abs=1e-6)
            elif key in ("loss", "loss_domain", "loss_replay", "grad_norm"):
                assert found[key] == pytest.approx(value, abs=1e-5)
            else:  # the rows of every batch, and how many of them are of each pool
                assert found[key] == value, key
    weights, others = (load_file(folder / "export" / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=0, atol=1e-5)
    for file in ("config.json", "generation_config.json", "tokenizer.json"):
        assert (one / "export" / file).read_bytes() == (other / "export" / file).read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_learn_what_one_does(one: Path, shared: Path, way: str) -> None:
    check_same(one, shared / way)


def test_a_run_goes_on_with_its_work_shared_in_another_way(one: Path, shared: Path) -> None:
    check_same(one, shared / "moved")
    events = [(event["event"], event["step"]) for event in records.read(shared / "moved" / "journal.jsonl")]
    assert events == [("start", 0), ("finish", 6), ("resume", 3), ("finish", 6)]


def test_pipeline_stages_learn_what_one_process_does(one: Path, untied: Path) -> None:
    found = parallelism.look()
    if found.torch < parallelism.PIPELINE_TORCH:
        pytest.skip(f"pipeline stages need torch {parallelism.PIPELINE_TORCH}, here is {torch.__version__}")
    several.train([[str(untied), "--train.run", "stages", *KEYS, "--pipeline-parallel", "2"]], 2)
    check_same(one, untied / "train" / "stages")


# Layouts ------------------------------------------------------------------------------------------------------------


def keys(**values: object) -> ParallelismKeys:
    return ParallelismKeys.model_validate(values)


def model(**changes: object) -> Architecture:
    values = {"kind": "llama", "vocab": 99, "dim": 64, "layers": 4, "heads": 8, "kv_heads": 4, "head_dim": 8}
    values |= {"hidden": 128, "tied": False, "norm_eps": 1e-6, "max_positions": 512, "init_std": 0.02}
    return Architecture(**values | {"rope": Rope(1e4, None)} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "processes", "expected"),
    [
        ({}, 1, Layout()),
        ({}, 8, Layout(8)),
        ({"data_parallel_replicate": 4}, 32, Layout(8, replicas=4)),
        ({"tensor_parallel": 8, "data_parallel_shard": 4}, 32, Layout(4, tensor=8)),
        ({"tensor_parallel": 2, "pipeline_parallel": 2, "context_parallel": 2}, 16, Layout(2, 1, 2, 2, 2)),
    ],
)
def test_processes_are_shared_out(values: dict[str, object], processes: int, expected: Layout) -> None:
    found = parallelism.layout(keys(**values), processes)
    assert found == expected and found.gpus == processes


@pytest.mark.parametrize(
    ("values", "processes", "named"),
    [
        ({"tensor_parallel": 4}, 6, "train.tensor_parallel: .* is 4, which does not divide the 6 processes"),
        ({"data_parallel_replicate": 2, "pipeline_parallel": 3}, 8, "train.pipeline_parallel: .* is 6"),
        ({"data_parallel_shard": 4}, 8, "train.data_parallel_shard: 4 x 1 .* Set .* to -1 or 8, or start 4"),
        ({"data_parallel_shard": 1}, 2, "train.data_parallel_shard: 1 x 1"),
    ],
)
def test_keys_that_do_not_come_out_are_refused(values: dict[str, object], processes: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parallelism.layout(keys(**values), processes)


@pytest.mark.parametrize("values", [{"data_parallel_shard": 0}, {"tensor_parallel": 0}, {"data_parallel_shard": -2}])
def test_keys_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        keys(**values)


@pytest.mark.parametrize(
    ("shape", "spread", "seq_len", "named"),
    [
        (model(), Layout(tensor=8), 64, "train.tensor_parallel: 8 does not divide"),
        (model(), Layout(pipeline=5), 64, "train.pipeline_parallel: 5 stages for 4 layers"),
        (model(tied=True), Layout(pipeline=2), 64, "train.pipeline_parallel: 2 stages would put the embedding"),
        (model(), Layout(tensor=4), 66, "train.tensor_parallel: mix.seq_len 66 is not a multiple of 4"),
        (model(), Layout(tensor=2, context=2), 192, "train.context_parallel: mix.seq_len 192 is not a multiple of 256"),
    ],
)
def test_a_model_that_cannot_be_spread_like_this_is_refused(
    shape: Architecture, spread: Layout, seq_len: int, named: str
) -> None:
    parallelism.check_model(shape, Layout(8, 4), seq_len)  # sharing the state is always possible
    with pytest.raises(ValueError, match=named):
        parallelism.check_model(shape, spread, seq_len)


H100 = Found("cuda", (2, 15), (9, 0), torchao=True)
CPU = Found("cpu", (2, 13), (0, 0), torchao=False)


@pytest.mark.parametrize(
    ("values", "found", "named"),
    [
        ({"pipeline_parallel": 2}, CPU, "train.pipeline_parallel: 2 stages need torch 2.15 or newer, and torch 2.13"),
        ({"pipeline_parallel": 2}, Found("cuda", (2, 11), (9, 0), True), "torch 2.15 or newer, and torch 2.11"),
        ({"context_parallel": 2}, CPU, "train.context_parallel: runs on GPUs only"),
        ({"compile": True}, CPU, "train.compile: runs on GPUs only"),
        ({"float8": True, "compile": True}, Found("cpu", (2, 15), (0, 0), True), "train.float8|train.compile"),
        ({"float8": True}, CPU, "train.float8: runs on GPUs only"),
        ({"float8": True, "compile": True}, Found("cuda", (2, 15), (8, 0), True), "capability 8.9 .* has 8.0"),
        ({"float8": True, "compile": True}, Found("cuda", (2, 15), (9, 0), False), "train.float8: needs torchao"),
        ({"float8": True}, H100, "train.float8: without train.compile"),
    ],
)
def test_what_this_torch_or_device_cannot_do_is_refused(values: dict[str, object], found: Found, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parallelism.check_device(keys(**values), found)


def test_a_gpu_with_everything_installed_can_do_all_of_it() -> None:
    everything = {"pipeline_parallel": 2, "context_parallel": 2, "tensor_parallel": 2, "compile": True, "float8": True}
    parallelism.check_device(keys(**everything), H100)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--context-parallel", "2"), "train.context_parallel: runs on GPUs only"),
        (("--compile", "true"), "train.compile: runs on GPUs only"),
        (("--tensor-parallel", "3"), "train.tensor_parallel: .* which does not divide the 2 processes"),
        (("--local-batch", "3"), "train.global_batch: 8 is not a multiple .* 2 processes with rows of their own"),
    ],
)
def test_the_command_refuses_before_it_starts(
    run: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], named: str
) -> None:
    if parallelism.look().device != "cpu" and "GPUs only" in named:
        pytest.skip("there is a GPU here")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=named):
        launch.main([str(run), "--train.run", "refused", *options])
    assert not (run / "train" / "refused").exists()
