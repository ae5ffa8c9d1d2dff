"""What the methods against forgetting do, on a tiny base that was trained on the replay pool's made-up text."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import checkpoint as dcp

from curate.files import write_json
from mix import build
from mix.loader import Loader
from pipelines import config
from tests.train import small
from tests.train.test_launch import extend, load_checkpoint, metrics
from train import anchor, architecture, fisher, groups, launch, model, records, settings
from train.unfreezing import unfreezing

STEPS = 16
KEYS = ["--train.keep_checkpoints", "10", "--train.checkpoint_every", "4", "--train.ewc_sequences", "24"]
BRIEF = ["--train.steps", "2", "--train.warmup_steps", "1", "--train.checkpoint_every", "1"]
RUNS: dict[str, list[str]] = {
    "plain": [],
    "ewc": ["--train.ewc", "1000"],
    "l2_sp": ["--train.l2_sp", "0.4"],
    "frozen": ["--train.freeze", "[embeddings, layers.0, '*.attention.wo.weight']"],
    "staged": ["--train.new_rows_first", "4", "--train.unfreeze_after", "{layers.0: 8}", "--train.ewc", "1000"],
    "decided": [],
    "brief": BRIEF,
    "slower": [*BRIEF, "--train.lr_groups", "{embeddings: 0.1, layers.1: 0.5, '*.attention.*': 0.5}"],
}
KILLED: dict[str, tuple[int, list[str]]] = {"ewc": (8, [anchor.FOLDER]), "staged": (4, []), "decided": (8, [])}
"""Runs, the checkpoint after which they are killed, and folders lost then; <name>_again goes on from there."""
NEW = small.VOCABULARY
"""Id of the new token."""
TOKENS = ("model.embed_tokens.weight", "lm_head.weight")

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with all RUNS trained on domain text alone; the tokenizer has one token more than its base.

    The base was trained on the replay pool's text.
    """
    return make(tmp_path_factory.mktemp("methods"))


def make(home: Path) -> Path:
    first, run = home / "runs" / "first", home / "runs" / "methods"
    small.make_tokenizer(first / "tokenizer")
    small.make_model(home / "random")
    for pool, source in (("domain", "notes"), ("replay", "books")):
        small.write_documents(first / "documents" / pool / source, pool, source, range(200))
        small.write_documents(first / "held_out" / pool / source, pool, f"{source}_held_out", range(1000, 1012))
    shutil.copytree(first, run)
    config.save(
        small.pipeline(first, home / "random", steps=120, checkpoint_every=120, local_batch=8), first / "pipeline.yaml"
    )
    config.save(small.pipeline(run, first / "train" / "main" / "export", steps=STEPS), run / "pipeline.yaml")
    build.main([str(first), "--domain", "0.0", "--replay", "1.0"])
    extend(run / "tokenizer")
    build.main([str(run), "--domain", "1.0", "--replay", "0.0"])
    orders = [*(order(run, name) for name in RUNS), *(again(run, name) for name in KILLED)]
    several(run, [{"arguments": [str(first), "--eval.every", "120"]}, *orders])
    return run


def order(run: Path, name: str, suffix: str = "") -> dict[str, Any]:
    """What tests.train.in_turn is to do for one of RUNS."""
    arguments = [str(run), "--train.run", name + suffix, "--eval.every", str(STEPS), *KEYS, *RUNS[name]]
    return {"arguments": arguments, "decide": {6: 1000.0, 12: 0.0} if name == "decided" else {}}


def again(run: Path, name: str, suffix: str = "") -> dict[str, Any]:
    """The order to go on with one of KILLED."""
    return order(run, name, f"_again{suffix}") | {"resume": [f"{name}{suffix}", *KILLED[name]]}


def several(run: Path, orders: list[dict[str, Any]], processes: int = 1) -> None:
    file = run / f"orders_{processes}.json"
    write_json(file, orders)
    launcher = ["-m"] if processes == 1 else ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "-m"]
    command = [sys.executable, *launcher, "tests.train.in_turn", str(file)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=small.REPO, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def base(run: Path) -> Weights:
    """The base's weights with the new token's rows."""
    return load_file(run / "train" / "plain" / "initial" / "model.safetensors")


def weights(run: Path, name: str) -> Weights:
    return load_file(run / "train" / name / "export" / "model.safetensors")


def distance(run: Path, name: str) -> float:
    """Distance of the weights to the base's, without the new token's rows."""
    before, after = base(run), weights(run, name)
    gaps = [(after[one] - before[one])[:NEW] if one in TOKENS else after[one] - before[one] for one in before]
    return float(sum((gap.double() ** 2).sum() for gap in gaps)) ** 0.5


def held_out(run: Path, name: str, pool: str) -> list[float]:
    """Bits per byte on a pool's held-out text over the run."""
    return [line["eval"][f"{pool}_bits_per_byte"] for line in metrics(run / "train" / name) if "eval" in line]


def at_step(run: Path, name: str, step: int) -> Weights:
    """Weights of a checkpoint by torchtitan's names."""
    ours = our_model(run)
    load_checkpoint(ours, run / "train" / name / "checkpoints" / f"step-{step}")
    return {one: parameter.detach() for one, parameter in ours.named_parameters()}


def our_model(run: Path) -> torch.nn.Module:
    """The base as torchtitan has it."""
    folder = run / "train" / "plain" / "initial"
    specification = model.specification(architecture.read(folder))
    ours: Any = specification.model.build()
    ours.init_states()
    assert specification.state_dict_adapter is not None
    adapter = specification.state_dict_adapter(specification.model, str(folder))
    ours.load_state_dict(adapter.from_hf(load_file(folder / "model.safetensors")))
    return ours


def information(run: Path, name: str) -> Weights:
    """The Fisher information that a run has stored."""
    state = {one: torch.zeros_like(tensor) for one, tensor in our_model(run).named_parameters()}
    dcp.load(state, checkpoint_id=str(run / "train" / name / anchor.FOLDER))
    return state


@pytest.mark.parametrize("name", ["ewc", "l2_sp"])
def test_a_penalty_holds_the_model_near_its_base_and_it_still_learns(methods: Path, name: str) -> None:
    assert distance(methods, name) < 0.9 * distance(methods, "plain")
    held, plain = held_out(methods, name, "general"), held_out(methods, "plain", "general")
    assert held[0] == plain[0] and plain[-1] - plain[0] > 0.1
    assert held[-1] - held[0] < 0.8 * (plain[-1] - plain[0])
    learned = held_out(methods, name, "domain")
    assert learned[-1] < 0.9 * learned[0]
    penalties = [line["penalty"] for line in metrics(methods / "train" / name) if "loss" in line]
    assert len(penalties) == STEPS and penalties[0] == 0 and all(penalty > 0 for penalty in penalties[1:])
    assert not any("penalty" in line for line in metrics(methods / "train" / "plain"))


def test_the_penalty_is_its_formula(methods: Path) -> None:
    before, after, f = (
        dict(our_model(methods).named_parameters()),
        at_step(methods, "ewc", 12),
        information(methods, "ewc"),
    )
    gaps = {name: after[name] - before[name].detach() for name in before}
    for name in groups.WITH_TOKEN_ROWS:
        gaps[name][NEW] = 0
    lines = {line["step"]: line for line in metrics(methods / "train" / "ewc") if "loss" in line}
    wanted = 1000 / 2 * sum(float((f[name].double() * gap.double() ** 2).sum()) for name, gap in gaps.items())
    assert lines[13]["penalty"] == pytest.approx(wanted, rel=1e-4)


def test_ewc_lets_weights_go_that_replay_text_does_not_need(methods: Path) -> None:
    before, f = dict(our_model(methods).named_parameters()), information(methods, "ewc")
    held, plain = at_step(methods, "ewc", STEPS), at_step(methods, "plain", STEPS)
    both = [torch.cat([(one[name] - before[name].detach()).abs().flatten() for name in f]) for one in (held, plain)]
    order = torch.cat([f[name].flatten() for name in f]).argsort()
    tenth = len(order) // 10
    least, most = (float(both[0][part].mean() / both[1][part].mean()) for part in (order[:tenth], order[-tenth:]))
    assert most < 0.7 * least


def test_the_fisher_information_is_its_definition(methods: Path) -> None:
    """The gradient of each sequence squared, added up, over the predicted tokens."""
    ours: Any = our_model(methods)
    stored, tokens = information(methods, "ewc"), 0
    wanted = {name: torch.zeros_like(one) for name, one in stored.items()}
    found = settings.resolve(config.load(methods / "pipeline.yaml", {}))
    replayed = found.plan.with_change(0, {"domain": 0, "replay": 1})
    loader = Loader(replayed, methods / "packed", 1)
    for row in range(24):
        batch = loader.batch(row, 1)
        assert replayed.sources[int(batch.source[0])][0].name == "replay"
        inputs, positions, labels = map(torch.from_numpy, (batch.input, batch.positions, batch.labels))
        hidden = ours(inputs, positions=positions, attention_masks=ours.get_attention_masks(positions=positions))
        loss = torch.nn.functional.cross_entropy(hidden.flatten(0, 1), labels.flatten(), reduction="sum")
        gradients = torch.autograd.grad(loss, list(ours.parameters()))
        for (name, _), gradient in zip(ours.named_parameters(), gradients, strict=True):
            wanted[name] += gradient**2
        tokens += int((labels >= 0).sum())
    for name, tensor in stored.items():
        torch.testing.assert_close(tensor, wanted[name] / tokens, rtol=1e-3, atol=1e-9)


def unchanged(run: Path, name: str) -> set[str]:
    """Tensors that are the base's, bit for bit."""
    before, after = base(run), weights(run, name)
    return {one for one in before if torch.equal(before[one], after[one])}


def test_frozen_weights_stay_bit_for_bit(methods: Path) -> None:
    names = base(methods).keys()
    wanted = {one for one in names if one.startswith(("model.embed_tokens", "model.layers.0.")) or "o_proj" in one}
    assert unchanged(methods, "frozen") == wanted and len(wanted) < len(names)
    assert not unchanged(methods, "plain")


def test_new_rows_learn_first_then_the_rest_in_its_turn(methods: Path) -> None:
    before = dict(our_model(methods).named_parameters())
    steps = {step: at_step(methods, "staged", step) for step in (4, 8, 12)}
    moved = {step: {name for name in before if not torch.equal(before[name], steps[step][name])} for step in steps}
    assert moved[4] == set(groups.WITH_TOKEN_ROWS)
    for name in groups.WITH_TOKEN_ROWS:
        rows = (steps[4][name] != before[name]).any(1).nonzero().flatten()
        assert rows.tolist() == [NEW]
    waiting = {name for name in before if name.startswith("layers.0.")}
    assert moved[8] == before.keys() - waiting and moved[12] == before.keys()


def test_a_group_learns_at_its_own_rate(methods: Path) -> None:
    before = dict(our_model(methods).named_parameters())
    plain, slower = at_step(methods, "brief", 1), at_step(methods, "slower", 1)
    rates = {"tok_embeddings.weight": 0.1, "lm_head.weight": 1.0, "layers.0.attention_norm.weight": 1.0}
    rates |= {"layers.1.feed_forward.w2.weight": 0.5, "layers.0.attention.wo.weight": 0.5}
    for name, rate in (rates | {"layers.1.attention.wo.weight": 0.25}).items():
        gaps = [(one[name] - before[name].detach()) for one in (slower, plain)]
        assert float(gaps[0].norm() / gaps[1].norm()) == pytest.approx(rate, rel=1e-3)
    lines = [
        [line["lr"] for line in metrics(methods / "train" / name) if "loss" in line] for name in ("brief", "slower")
    ]
    assert lines[0] == lines[1]


def test_a_decision_turns_ewc_on_from_the_base_and_off_again(methods: Path) -> None:
    decided, plain = (metrics(methods / "train" / name) for name in ("decided", "plain"))
    lines = {line["step"]: line for line in decided if "loss" in line}
    assert [line for line in decided if line["step"] <= 6] == [line for line in plain if line["step"] <= 6]
    assert [step for step in lines if "penalty" in lines[step]] == list(range(7, 13))
    assert lines[7]["penalty"] > lines[12]["penalty"] > 0
    f, from_start = information(methods, "decided"), information(methods, "ewc")
    assert all(torch.equal(f[name], from_start[name]) for name in f)
    assert distance(methods, "decided") < 0.95 * distance(methods, "plain")


def journal(run: Path, name: str) -> list[dict[str, Any]]:
    """The decisions of a run."""
    return [one for one in records.read(run / "train" / name / "journal.jsonl") if one["event"] not in records.COURSE]


def same(run: Path, first: str, second: str) -> None:
    """Two runs wrote and learned the same, bit for bit."""
    assert metrics(run / "train" / first) == metrics(run / "train" / second)
    assert journal(run, first) == journal(run, second)
    tensors = weights(run, second)
    assert all(torch.equal(tensor, tensors[one]) for one, tensor in weights(run, first).items())


@pytest.mark.parametrize("name", ["ewc", "staged", "decided"])
def test_a_killed_run_ends_as_if_nothing_had_happened(methods: Path, name: str) -> None:
    same(methods, name, f"{name}_again")


def test_two_processes_do_the_same(methods: Path) -> None:
    names = ["staged", "decided", "frozen"]
    orders = [*(order(methods, name, "_2") for name in names), *(again(methods, name, "_2") for name in names[:2])]
    several(methods, orders, processes=2)
    for name in names:
        one, two = metrics(methods / "train" / name), metrics(methods / "train" / f"{name}_2")
        assert [line.keys() for line in one] == [line.keys() for line in two]
        for line, other in zip(one, two, strict=True):
            assert other.get("loss", 0) == pytest.approx(line.get("loss", 0), rel=1e-3)
            assert other.get("penalty", 0) == pytest.approx(line.get("penalty", 0), rel=0.02)
    f, from_two = information(methods, "ewc"), information(methods, "decided_2")
    for tensor in f:
        torch.testing.assert_close(from_two[tensor], f[tensor], rtol=1e-3, atol=1e-9)
    assert unchanged(methods, "frozen_2") == unchanged(methods, "frozen")
    before, after = dict(our_model(methods).named_parameters()), at_step(methods, "staged_2", 4)
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(groups.WITH_TOKEN_ROWS)
    assert (after["lm_head.weight"] != before["lm_head.weight"]).any(1).nonzero().flatten().tolist() == [NEW]
    for name in ("staged", "decided"):
        same(methods, f"{name}_2", f"{name}_again_2")


def test_the_memory_is_printed_before_the_start(
    methods: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    numbers = sum(one.numel() for one in our_model(methods).parameters())
    for keys, each in ({"train.ewc": 1.0}, 8), ({"train.l2_sp": 1.0}, 4), ({}, 0):
        found = settings.resolve(config.load(methods / "pipeline.yaml", {"output": str(methods), **keys}))
        initial = methods / "train" / "plain" / "initial"
        found = dataclasses.replace(found, architecture=architecture.read(initial))
        launch.show(found, "two processes", "", 2)
        printed = capsys.readouterr().out
        assert (f"{each} bytes x {numbers:,} / 2" in printed) == bool(each)
        assert (f"{each * numbers / 2 / 2**20:,.1f} MiB a rank" in printed) == bool(each)


NAMES = ["tok_embeddings.weight", "layers.0.attention.wo.weight", "layers.1.feed_forward.w1.weight", "norm.weight"]


@pytest.mark.parametrize(
    "keys, said",
    [
        ({"freeze": ["head"]}, "train.freeze: 'head' means no weights .*tied"),
        ({"freeze": ["layers.1-2"]}, "train.freeze: 'layers.1-2' means no weights .* layers.0 to layers.1"),
        ({"freeze": ["*"]}, "train.freeze: .*nothing would be learned"),
        ({"freeze": ["mlp"], "lr_groups": {"layers.1": 2.0}}, "train.lr_groups: layers.1 is frozen"),
        ({"freeze": ["mlp"], "unfreeze_after": {"layers.1": 2}}, "train.unfreeze_after: layers.1 is frozen"),
        ({"unfreeze_after": {"norms": 16}}, "train.unfreeze_after: 16 is not below train.steps"),
        ({"unfreeze_after": {"*": 5}}, "nothing would learn in the first 5 steps"),
        ({"new_rows_first": 25}, "train.new_rows_first: 25 is more than train.steps"),
        ({"new_rows_first": 5, "freeze": ["embeddings"]}, "train.new_rows_first: neither"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_key(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    train = small.pipeline(tmp_path, tmp_path, **keys).train
    with pytest.raises(ValueError, match=said):
        groups.optimizer(NAMES, train, 1e-3, 0.1)
        unfreezing(train, NAMES, range(320, 321), STEPS)


def test_new_rows_first_needs_new_tokens(tmp_path: Path) -> None:
    train = small.pipeline(tmp_path, tmp_path, new_rows_first=2).train
    with pytest.raises(ValueError, match="train.new_rows_first: the tokenizer has no tokens that the base lacks"):
        unfreezing(train, NAMES, range(0), STEPS)


def test_without_a_base_or_replay_text_there_is_nothing_to_hold_to(methods: Path) -> None:
    values = {"output": str(methods), "train.init": "scratch", "train.l2_sp": 1.0}
    found = settings.resolve(config.load(methods / "pipeline.yaml", values))
    with pytest.raises(ValueError, match="train.l2_sp: .* train.init is scratch"):
        anchor.check(found, 0.0)
    assert fisher.replay_rows(found.plan) == sum(pool.rows for pool in found.plan.pools if pool.name == "replay") > 0
