"""The plan before a run: published worked examples, the model's own operations, and what is refused.

Models are config.json alone; the small run is made-up text, no real text is needed.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train import small
from train import architecture, fits, flops, gpus, memory, plan, speed, warranted
from train.architecture import Architecture, Rope
from train.gpus import FIGURES, GPUS
from train.memory import Layout, Work

LLAMA3 = {
    "8B": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
    "70B": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
}
"""Llama 3, as its config.json gives it."""


def config(folder: Path, size: str) -> Path:
    """A model folder with config.json only."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {"model_type": "llama", "vocab_size": 128256, "num_key_value_heads": 8, "max_position_embeddings": 8192}
    (folder / "config.json").write_text(json.dumps(common | LLAMA3[size]))
    return folder


def shape(size: str, folder: Path) -> Architecture:
    return architecture.read(config(folder, size))


def little(kind: str = "llama", layers: int = 1, tied: bool = False) -> Architecture:
    return Architecture(kind, 64, 96, layers, 6, 2, 20, 200, tied, 1e-5, 512, Rope(1e4, None), 0.02)


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The plan of the smallest pipeline with some options, from its JSON."""
    plan.main(["pipelines/smoke.yaml", "--output", "never/made", "--json", *arguments])
    return json.loads(capsys.readouterr().out)


# Published worked examples ------------------------------------------------------------------------------------------


def test_full_training_of_70b_takes_870_to_890_gb_and_109_to_112_on_each_of_8(tmp_path: Path) -> None:
    """Assumed: bf16 weights and gradients, fp32 moments, no fp32 weights (12 bytes a parameter); 2048 tokens a GPU, all
    layers recomputed; FSDP's own buffers not counted, as the example does not."""
    a, layout = shape("70B", tmp_path), Layout(shards=8)
    work = Work(2048, checkpointing="full", states="bf16")
    assert a.parameters == 70_553_706_496
    assert 870e9 <= memory.unsharded(a, layout, work).total <= 890e9
    mine = memory.per_gpu(a, layout, work)
    assert 109e9 <= mine.worked_example <= 112e9
    assert mine.total > 112e9, "the buffers come on top"
    ours = memory.per_gpu(a, layout, Work(2048, checkpointing="full"))
    assert ours.weights + ours.gradients + ours.optimizer == pytest.approx(16 * a.parameters / 8)


def test_62_5_billion_tokens_at_10_000_a_second_take_72_days(capsys: pytest.CaptureFixture[str]) -> None:
    """Assumed: 50B domain tokens once, at a domain share of .8; no stops."""
    tokens = 50e9 / 0.8
    made = run("--tokens", str(tokens), "--corpus-tokens", "50e9", "--tokens-per-second", "10000", capsys=capsys)
    assert tokens == 62.5e9
    assert made["budget"]["epochs"] == pytest.approx(1.0)
    assert made["cost"]["days"] == pytest.approx(72.3, abs=0.1)


def test_8b_on_50b_tokens_is_2_4e21_flop_and_2200_hours_only_at_an_a100s_peak(tmp_path: Path) -> None:
    """Assumed: 6ND and 97 % of 312 TFLOP/s, which no training reaches. At the published 58 % it is 4,700 hours."""
    a = shape("8B", tmp_path)
    operations = flops.rule_of_thumb(a.parameters, 50e9)
    assert flops.rule_of_thumb(8e9, 50e9) == pytest.approx(2.4e21)
    assert operations == pytest.approx(2.4e21, rel=0.005)
    assert speed.hours(2.4e21, 0.97 * GPUS["a100-80g"].peak) == pytest.approx(2200, rel=0.005)
    reached = speed.estimate(a, GPUS["a100-80g"], Layout(64), Work(8192))
    assert reached is not None and reached.utilisation == 0.582
    spent = speed.cost(a, GPUS["a100-80g"], 50e9, reached, 2.0)
    assert spent["gpu_hours_at_peak"] == pytest.approx(2145, abs=1)
    assert spent["gpu_hours"] == pytest.approx(4672, abs=10)
    assert spent["cost"] == pytest.approx(2 * spent["gpu_hours"])


def test_utilisation_and_tokens_a_second_that_torchtitan_publishes_belong_together(tmp_path: Path) -> None:
    """docs/performance.md: 8B at 58.2 % and 2,973 tokens/s, 70B at 51.7 % and 331, per A100, rows of 8192."""
    for size, utilisation, published in (("8B", 0.582, 2973), ("70B", 0.517, 331)):
        per_token = flops.of_utilisation(shape(size, tmp_path / size), 8192)
        assert utilisation * GPUS["a100-80g"].peak / per_token == pytest.approx(published, rel=0.002)


@pytest.mark.parametrize(
    ("size", "layout", "work", "published"),
    [
        ("8B", Layout(8), Work(8192, 2, checkpointing="selective"), (77.0, 82.4)),
        ("8B", Layout(128), Work(8192, 2, checkpointing="selective"), (62.0, 67.0)),
        ("8B", Layout(8), Work(32768, 1, checkpointing="full"), (83.9, 83.9)),
        ("70B", Layout(32, tensor=8), Work(8192, 16, checkpointing="full"), (67.6, 71.9)),
    ],
)
def test_memory_is_within_a_tenth_of_what_torchtitan_published(
    tmp_path: Path, size: str, layout: Layout, work: Work, published: tuple[float, float]
) -> None:
    """benchmarks/llama3_h100_202412, in GiB, without and with compilation. Its loss then made all logits at once, with
    16 bytes for each: in bf16 and fp32, their log-softmax, and gradients of both."""
    work = memory.replace(work, chunks=1, logit_bytes=16)
    total = memory.per_gpu(shape(size, tmp_path), layout, work).total / gpus.GIB
    assert 0.9 * published[0] <= total <= 1.1 * published[1]


# Against the model itself -------------------------------------------------------------------------------------------


def kept(a: Architecture, rows: int, length: int) -> int:
    """Bytes that autograd keeps of a forward pass of the trainer's model on the CPU, weights left out."""
    import torch

    from train import model

    net = model.specification(a).model.build()
    net.init_states()
    weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    storages: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage
        return tensor

    tokens, positions = torch.zeros(rows, length, dtype=torch.int64), torch.arange(length).expand(rows, -1)
    masks = net.get_attention_masks(positions=positions)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(tokens, positions=positions, attention_masks=masks)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_activations_counted_are_those_the_model_keeps(kind: str) -> None:
    """On the CPU more is kept than on a GPU: each normalisation also keeps what it normalised before scaling, and keys
    and values are there once per query head."""
    one, three = little(kind, 1), little(kind, 3)
    found = (kept(three, 2, 64) - kept(one, 2, 64)) / 2 / (2 * 64)
    queries, keys = one.heads * one.head_dim, one.kv_heads * one.head_dim
    more_norms = 2 * one.dim + (queries + keys if kind == "qwen3" else 0)
    repeated = 2 * (queries - keys)
    assert found == memory.kept_per_layer(one, "none", 4) + 4 * (more_norms + repeated)


@pytest.mark.parametrize("tied", [False, True])
def test_operations_counted_are_those_torch_counts(tied: bool) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from train import model

    a, length = little("llama", 3, tied), 32
    net = model.specification(a).model.build()
    net.init_states()
    positions = torch.arange(length).expand(2, -1)
    masks = net.get_attention_masks(positions=positions)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(2, length, dtype=torch.int64), positions=positions, attention_masks=masks).sum().backward()
    found = counter.get_flop_counts()["Global"]
    products = sum(count for name, count in found.items() if "mm" in str(name)) / (2 * length)
    counted = flops.count(a, length)
    assert products == 3 * (counted.projections + counted.feed_forward + counted.head)


def test_attention_is_counted_over_what_a_causal_row_sees() -> None:
    a, length = little(), 5
    pairs = sum(range(1, length + 1))
    assert flops.count(a, length).attention * length == a.layers * a.heads * 2 * 2 * a.head_dim * pairs


def test_adapters_go_beside_every_projection_of_every_layer(tmp_path: Path) -> None:
    """A pair of matrices [rank, in] and [out, rank] for each linear module of transformers' own model but the head."""
    from torch import nn
    from transformers import AutoModelForCausalLM

    folder = small.make_model(tmp_path, head_dim=12)
    reference = AutoModelForCausalLM.from_pretrained(folder)
    linears = [m for name, m in reference.named_modules() if isinstance(m, nn.Linear) and name != "lm_head"]
    assert len(linears) == 2 * 7
    expected = sum(4 * (linear.in_features + linear.out_features) for linear in linears)
    assert flops.lora_parameters(architecture.read(folder), 4) == expected


# What must hold whatever the model ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(["llama", "qwen3"]),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.sampled_from(["fp32", "bf16"]),
    st.sampled_from([0, 8]),
)
def test_more_sharding_and_more_recomputation_never_take_more(
    kind: str, layers: int, tied: bool, tensor: int, states: str, rank: int
) -> None:
    a = little(kind, layers, tied)
    work = Work(128, 2, states=states, lora_rank=rank)
    totals = [memory.per_gpu(a, Layout(shards, tensor=tensor), work).total for shards in (1, 2, 4, 8)]
    assert totals == sorted(totals, reverse=True)
    one_group = memory.per_gpu(a, Layout(4, tensor=tensor), work)
    assert memory.per_gpu(a, Layout(4, replicas=3, tensor=tensor), work) == one_group, "HSDP repeats a group"
    stored = [memory.kept_per_layer(a, name, 2, tensor) for name in memory.CHECKPOINTING]
    assert stored == sorted(stored, reverse=True)
    again = [flops.count(a, 128, name).recomputed for name in memory.CHECKPOINTING]
    assert again == sorted(again)


def test_states_of_all_gpus_together_are_the_states_of_the_model() -> None:
    a = little(layers=4)
    for layout in (Layout(8), Layout(2, tensor=2, context=2), Layout(4, tensor=2)):
        mine = memory.per_gpu(a, layout, Work(64))
        assert layout.sharing * (mine.weights + mine.gradients + mine.optimizer) == pytest.approx(16 * a.parameters)


def test_a_larger_gpu_holds_whatever_a_smaller_one_does(tmp_path: Path) -> None:
    table = fits.fits(shape("70B", tmp_path), Work(4096), 64)
    assert table["layouts"] == ["FSDP 64", "HSDP 8 x FSDP 8", "FSDP 8 x TP 8", "FSDP 2 x TP 8 x PP 4"]
    by_size = sorted(GPUS.values(), key=lambda gpu: gpu.memory)
    for column in range(len(table["layouts"])):
        held = [table["kinds"][gpu.name]["layouts"][column]["fits"] for gpu in by_size]
        assert held == sorted(held)
    fewest = [table["kinds"][gpu.name]["fewest"] for gpu in by_size]
    assert fewest == sorted(fewest, reverse=True)
    assert table["kinds"]["h100"]["layouts"][0]["fits"] and not table["kinds"]["h100"]["layouts"][1]["fits"]


def test_a_published_figure_is_taken_only_near_its_size() -> None:
    assert all(figure.gpu in GPUS and 0 < figure.utilisation < 1 for figure in FIGURES)
    found = gpus.nearest("h200", 8e9, 4096, 8)
    assert found is not None and found.gpu == "h100" and found.parameters in (6.7e9, 8.0e9)
    assert gpus.nearest("h100", 1e6, 4096, 8) is None
    assert gpus.nearest("l40s", 8e9, 4096, 8) is None


def test_speed_in_float32_is_not_taken_from_figures_for_bf16(tmp_path: Path) -> None:
    a = shape("8B", tmp_path)
    assert speed.estimate(a, GPUS["h100"], Layout(8), Work(4096)) is not None
    assert speed.estimate(a, GPUS["h100"], Layout(8), Work(4096, element=4)) is None
    given = speed.estimate(a, GPUS["h100"], Layout(8), Work(4096, element=4), utilisation=0.2)
    assert given is not None and given.utilisation == 0.2


# Warranted or not ---------------------------------------------------------------------------------------------------


def bits(ratio: float) -> dict[str, float]:
    return {"domain_bits_per_byte": ratio, "general_bits_per_byte": 1.0}


@pytest.mark.parametrize(
    ("tokens", "epochs", "figures", "expected"),
    [
        (48e9, 1.0, bits(1.4), "warranted"),
        (48e9, 1.0, None, "warranted by what is known"),
        (48e9, 1.0, bits(0.97), "not warranted: the base reads"),
        (1.3e6, 4.0, bits(1.4), "not warranted by the size"),
        (200e6, 2.0, bits(1.4), "LoRA first"),
        (None, None, bits(1.4), "warranted by what is known"),
        (None, None, None, "not decided"),
    ],
)
def test_the_verdict_follows_from_the_rules(
    tmp_path: Path, tokens: float | None, epochs: float | None, figures: dict[str, float] | None, expected: str
) -> None:
    findings = warranted.judge(shape("8B", tmp_path), tokens, epochs, figures)
    assert warranted.verdict(findings).startswith(expected)
    assert all(finding.source for finding in findings if finding.votes_for), "no rule without its source"


def test_repeats_are_judged_by_the_budget(tmp_path: Path) -> None:
    a = shape("8B", tmp_path)
    follows = [warranted.judge(a, 2e9, epochs, None)[-1].follows for epochs in (4, 5, 17)]
    assert follows == ["no", "returns fall from 4 on", "yes, beyond 16 nothing is gained: fewer steps"]


# The command --------------------------------------------------------------------------------------------------------


def test_a_config_alone_is_enough_and_torch_is_not_loaded(tmp_path: Path) -> None:
    """As for a 70B model on a machine that does not have its weights."""
    program = "import sys; from train import plan; plan.main(sys.argv[1:]); assert 'torch' not in sys.modules"
    options = ["--model", str(config(tmp_path, "70B")), "--gpus", "64", "--tensor-parallel", "8", "--price", "2"]
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "pipelines/smoke.yaml",
            *options,
            "--tokens",
            "1e9",
            "--train.dtype",
            "bfloat16",
        ],
        cwd=small.REPO,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    for told in ("70,553,706,496", "FSDP 8 x TP 8", "llm-foundry", "GPU-hours", "a GPU-hour", "not decided"):
        assert told in found.stdout


def test_before_the_mixture_the_budget_comes_from_the_keys_and_after_it_from_the_plan(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run("--steps", "100", "--global-batch", "8", "--mix.seq_len", "256", capsys=capsys)
    assert made["budget"]["tokens"] == 100 * 8 * 256 and made["budget"]["corpus"] is None
    plan.main([str(run_folder), "--json"])
    made = json.loads(capsys.readouterr().out)
    assert json.loads((run_folder / "plan.json").read_text(encoding="utf-8")) == made
    assert made["budget"]["corpus_from"] == "mixture.json" and made["budget"]["corpus"] > 1000
    assert made["model"]["parameters"] == architecture.read(run_folder.parents[1] / "base").parameters
    assert made["memory"]["work"]["seq_len"] == small.SEQ_LEN


def test_the_probe_times_the_model_and_the_base_is_measured(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = shutil.copytree(run_folder.parents[1] / "base", tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(run_folder / "tokenizer" / name, base)
    plan.main([str(run_folder), "--model", str(base), "--probe", "--measure", "--json"])
    made = json.loads(capsys.readouterr().out)
    reached = made["speed"]
    assert reached["devices"] == 1 and reached["tokens_per_second"] > 100 and "CPU" in reached["about"]
    assert made["cost"]["hours"] == pytest.approx(made["budget"]["tokens"] / reached["tokens_per_second"] / 3600)
    assert made["warranted"]["bits_from"] == "measured now"
    assert "bits per byte on domain" in made["warranted"]["findings"][0]["found"]


def test_bits_per_byte_are_taken_from_the_runs_own_scores(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "scored"
    (copy / "eval").mkdir(parents=True)
    (copy / "pipeline.yaml").write_text((run_folder / "pipeline.yaml").read_text())
    (copy / "eval" / "scores.json").write_text(json.dumps({"base": bits(1.25)}))
    plan.main([str(copy), "--json"])
    found = json.loads(capsys.readouterr().out)["warranted"]
    assert found["bits_from"].endswith("scores.json") and "ratio 1.25" in found["findings"][0]["found"]


def test_the_layout_is_that_of_the_pipelines_keys(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["--train.tensor_parallel", "2", "--data-parallel-replicate", "2", "--activation-checkpointing", "full"]
    plan.main([str(run_folder), "--gpus", "16", *keys, "--json"])
    made = json.loads(capsys.readouterr().out)
    assert made["memory"]["layout"]["name"] == "HSDP 2 x FSDP 4 x TP 2"
    assert made["memory"]["work"]["checkpointing"] == "full"
    assert made["accumulation"] == 8 / (4 * 8)


@pytest.fixture
def run_folder(run: Path) -> Path:
    """The small run of the training tests; here `run` is the command."""
    return run


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--gpus", "6", "--tensor-parallel", "4"], "--gpus: 6"),
        (["--gpus", "8", "--tensor-parallel", "8"], "train.tensor_parallel: 8 does not divide"),
        (["--gpus", "64", "--pipeline-parallel", "64"], "train.pipeline_parallel: 64"),
        (["--mix.seq_len", "4096"], "mix.seq_len: 4096 is more than"),
        (["--model", "nowhere/at/all"], "nowhere/at/all/config.json: is not there"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_its_option(options: list[str], named: str) -> None:
    with pytest.raises(ValueError) as error:
        plan.main(["pipelines/smoke.yaml", *options])
    assert named in str(error.value)


@pytest.mark.parametrize(
    "options", [["--gpus", "0"], ["--price", "-1"], ["--mfu", "1.1"], ["--tokens", "nan"], ["--gpu", "abacus"]]
)
def test_options_out_of_range_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan.main(["pipelines/smoke.yaml", *options])
    assert options[0] in capsys.readouterr().err
