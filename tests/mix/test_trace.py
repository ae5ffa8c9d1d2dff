"""Steps lead to their documents and documents to their steps; spikes are found; wrong questions are refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.files import write_json
from mix import trace
from mix.build import build
from mix.journal import read_lines
from mix.loader import Loader
from mix.spikes import FEWEST, spikes
from pipelines import config
from tokenization.encode import Encoder, load

STEPS, BATCH = 12, 8
NASTY = "[bold]not markup[/bold] :smile: \x1b[31mnot red"


@pytest.fixture
def folder(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built run of documents made here, with an origin each, some with text that a terminal could act on.

    Built once, a copy for each test.
    """
    run = make_run(steps=STEPS, global_batch=BATCH)
    kept = tmp_path_factory.getbasetemp() / "traced"
    if not kept.exists():
        for path in (run / "documents").glob("*/*/*.parquet"):
            number = pl.col("id").str.split("/").list.last()
            documents = pl.read_parquet(path).with_columns(origin=pl.lit(f"{path.parent.name}.jsonl#") + number)
            if path.parent.name == "letters":
                documents = documents.with_columns(text=pl.lit(NASTY) + pl.col("text"))
            documents.write_parquet(path)
        build(config.load(run / "pipeline.yaml"))
        shutil.copytree(run, kept)
    else:
        pipeline = (run / "pipeline.yaml").read_bytes()
        shutil.rmtree(run)
        shutil.copytree(kept, run)
        (run / "pipeline.yaml").write_bytes(pipeline)
    return run


@pytest.fixture
def run(folder: Path) -> trace.Run:
    return trace.open_run(config.load(folder / "pipeline.yaml"))


def train(run: Path, name: str = "main", changes: dict[str, Any] | None = None) -> Path:
    """What a training run leaves on disk, as far as it says which rows it had."""
    plan = json.loads((run / "mixture.json").read_text())["identity"]
    training = run / "train" / name
    made_with = {"mixture.json": plan, "train.global_batch": BATCH, "train.steps": STEPS}
    write_json(training / "config.json", made_with | (changes or {}))
    return training


def write_metrics(path: Path, losses: np.ndarray, norms: np.ndarray) -> None:
    lines: list[dict[str, Any]] = [{"step": 0, "eval": {"domain_bits_per_byte": 1.0}}]
    for at, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
        step = at + 1
        lines.append({"step": step, "loss": float(loss), "grad_norm": float(norm), "rows": step * BATCH})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def ids_of_documents(folder: Path) -> dict[str, np.ndarray]:
    """The tokens of every document, encoded anew."""
    documents = pl.read_parquet(folder / "documents/*/*/*.parquet", columns=["id", "text"])
    encoded = Encoder(folder / "tokenizer").encode(documents["text"])
    return dict(zip(documents["id"], np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1]), strict=True))


@pytest.mark.parametrize("step", [1, 7, STEPS])
def test_a_step_is_made_of_the_tokens_of_the_documents_listed(run: trace.Run, step: int) -> None:
    batch = Loader(run.plan, run.folder / "packed", BATCH).batch((step - 1) * BATCH, BATCH)
    documents = ids_of_documents(run.folder)
    found = trace.trace_step(run, step)
    left = np.ones(batch.input.shape, bool)
    for line in found.iter_rows(named=True):
        row, begin, first = line["row"], line["begin"], line["first_token"]
        inside = slice(begin, begin + line["tokens"])
        assert np.array_equal(batch.input[row, inside], documents[line["id"]][first : first + line["tokens"]])
        assert line["document_tokens"] == len(documents[line["id"]])
        assert left[row, inside].all(), "no token has two documents"
        left[row, inside] = False
        assert (line["position"], line["epoch"]) == ((step - 1) * BATCH + row, batch.epoch[row])
        pool, source = run.plan.sources[batch.source[row]]
        assert (line["pool"], line["source"], line["source_row"]) == (pool.name, source.name, batch.row[row])
        assert line["id"].startswith(f"{source.name}/") and line["origin"] == line["id"].replace("/", ".jsonl#")
    eos = Encoder(run.folder / "tokenizer").eos
    assert (batch.input[left] == eos).all(), "what no document has is padding"


def test_the_text_shown_is_the_beginning_of_the_segment(run: trace.Run) -> None:
    texts = dict(pl.read_parquet(run.folder / "documents/*/*/*.parquet", columns=["id", "text"]).iter_rows())
    for step in range(1, STEPS + 1):
        for line in trace.trace_step(run, step).iter_rows(named=True):
            text = texts[line["id"]]
            assert text.startswith(line["text"]) if line["first_token"] == 0 else line["text"] in text
            assert line["text"] or line["tokens"] <= 2, "only BOS and EOS have no text"


@pytest.mark.parametrize("world", [2, 4, 8])
def test_ranks_share_a_step(run: trace.Run, world: int) -> None:
    whole = trace.trace_step(run, 5, world=world)
    parts = [trace.trace_step(run, 5, rank, world) for rank in range(world)]
    assert pl.concat(parts).equals(whole)
    assert whole.drop("rank").equals(trace.trace_step(run, 5).drop("rank"))
    assert (whole["rank"] == whole["row"] // (BATCH // world)).all()


def test_documents_lead_back_to_exactly_the_steps_that_list_them(run: trace.Run) -> None:
    columns = ["step", "rank", "row", "position", "id", "epoch", "source_row", "first_token", "tokens"]
    steps = [trace.trace_step(run, step, world=4).with_columns(step=pl.lit(step)) for step in range(1, STEPS + 1)]
    listed = pl.concat(steps).with_columns(pl.col("step").cast(pl.Int64)).select(columns)
    back = []
    for identifier in listed["id"].unique(maintain_order=True).to_list()[:40] + ["notes/20", "web/23"]:
        seen = trace.trace_document(run, identifier, world=4).with_columns(id=pl.lit(identifier))
        assert seen.select(columns).equals(listed.filter(pl.col("id") == identifier).sort("position", "first_token"))
        back.append(len(seen))
    assert max(back) > 5, "a cut document is seen in several rows"


def test_until_looks_beyond_the_budget(run: trace.Run) -> None:
    begins = trace.trace_document(run, "books/0", until=500).filter(pl.col("first_token") == 0)
    assert begins["epoch"].to_list() == list(range(len(begins))) and len(begins) > 3
    second = int(begins["step"][1])
    again = trace.trace_document(run, "books/0", until=second).filter(pl.col("first_token") == 0)
    assert again.equals(begins.filter(pl.col("step") <= second))


def test_changes_of_the_ratio_in_the_journal_are_followed(folder: Path, run: trace.Run) -> None:
    training = train(folder)
    event = {"event": "ratio", "step": 6, "first_row": 6 * BATCH, "shares": {"domain": "1/2", "replay": "1/2"}}
    (training / "journal.jsonl").write_text('{"event": "start", "step": 0}\n' + json.dumps(event) + "\n")
    changed = trace.open_run(config.load(folder / "pipeline.yaml"))
    assert changed.training == training
    assert trace.trace_step(changed, 6).equals(trace.trace_step(run, 6))
    assert trace.trace_step(changed, 7).filter(pl.col("pool") == "replay")["row"].n_unique() == BATCH // 2


def test_spikes_stand_out_from_the_steps_before_them() -> None:
    random = np.random.default_rng(0)
    losses, norms = 5 - np.arange(200) / 100 + 0.1 * random.normal(size=200), np.exp(0.1 * random.normal(size=200))
    lines = [{"step": at + 1, "loss": losses[at], "grad_norm": norms[at]} for at in range(200)]
    assert spikes(lines) == []
    lines[120]["loss"] += 2
    lines[120]["grad_norm"] += 3
    lines[50]["grad_norm"] += 3
    lines.insert(100, {"step": 100, "eval": {}})
    found = spikes(lines)
    assert [(spike.step, spike.figure) for spike in found] == [(51, "grad_norm"), (121, "loss"), (121, "grad_norm")]
    before = [line["grad_norm"] for line in lines[18:50]]
    deviation = 1.4826 * np.median(np.abs(before - np.median(before)))
    assert found[0].median == pytest.approx(np.median(before))
    assert found[0].score == pytest.approx((lines[50]["grad_norm"] - np.median(before)) / deviation)
    assert spikes(lines, threshold=1000) == []
    assert spikes(lines[:FEWEST]) == []


def test_a_flat_line_has_no_spikes() -> None:
    lines = [{"step": step, "loss": 2.0 + 1e-6 * (step == 40), "grad_norm": 1.0} for step in range(1, 60)]
    assert spikes(lines) == []
    lines[40]["loss"] = 3.0
    assert [spike.step for spike in spikes(lines)] == [41]


def test_a_line_cut_off_by_a_kill_is_left_out_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_lines(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl: line 2 is damaged"):
        read_lines(path)


def test_the_command_lists_the_documents_around_a_spike(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = train(folder, changes={"train.steps": 60})
    losses = np.random.default_rng(1).normal(3, 0.1, 60)
    losses[40] = 9
    write_metrics(training / "metrics.jsonl", losses, np.ones(60))
    trace.main([str(folder), "--spike", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [spike["step"] for spike in told["spikes"]] == [41]
    assert [step["step"] for step in told["steps"]] == [40, 41, 42]
    run = trace.open_run(config.load(folder / "pipeline.yaml"), "main")
    assert told["steps"][1]["segments"] == trace.trace_step(run, 41).to_dicts()
    trace.main([str(folder), "--spike", "--around", "0"])
    shown = capsys.readouterr().out
    assert "step 41" in shown and "step 40" not in shown
    trace.main([str(folder), "--spike", "--threshold", "1000"])
    assert "no spikes" in capsys.readouterr().out
    write_metrics(training / "metrics.jsonl", losses[:3], np.ones(3))
    wrong = (training / "metrics.jsonl").read_text().replace('"rows": 24', '"rows": 48')
    (training / "metrics.jsonl").write_text(wrong)
    with pytest.raises(ValueError, match="says 48 rows at step 3, but steps of 8 rows make 24"):
        trace.main([str(folder), "--spike"])


def test_text_is_shown_as_it_is(folder: Path, run: trace.Run, capsys: pytest.CaptureFixture[str]) -> None:
    places = trace.trace_document(run, "letters/3", until=500)
    trace.main([str(folder), "--steps", "500", "--step", str(places["step"][0])])
    shown = capsys.readouterr().out
    assert "[bold]not markup[/bold]" in " ".join(shown.split()) and ":smile:" in shown
    assert "\x1b" not in shown
    trace.main([str(folder), "--document", "letters/3", "--until", "500", "--json"])
    assert json.loads(capsys.readouterr().out)["seen"] == places.to_dicts()
    trace.main([str(folder), "--document", "letters/3", "--until", "500"])
    assert f"{places['document_tokens'][0]} tokens, steps 1 to 500" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no question given. Give one of --step N, --document ID, --spike"),
        (["--step", "0"], "--step: 0 is not a step of this run; they are 1 to 12"),
        (["--step", "13"], "--step: 13 is not a step"),
        (["--step", "1", "--spike"], "--step and --spike given"),
        (["--step", "1", "--rank", "2", "--world", "2"], "--rank: 2 is not one of 2 ranks"),
        (["--step", "1", "--world", "3"], "--world: the 8 rows of a step cannot be shared equally by 3 ranks"),
        (["--step", "1", "--worst", "0"], "--worst: 0 cannot be used here"),
        (["--step", "1", "--worst", "3"], "there is no exported model"),
        (["--step", "1", "--train", "other"], "there is no training run 'other'"),
        (["--spike"], "there is no training run, so there are no losses"),
        (["--document", "notes/1", "--until", "0"], "--until: 0 is not a step"),
        (["--document", "notes/99999"], "no packed document has the id 'notes/99999'"),
    ],
)
def test_wrong_questions_are_refused(folder: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(ValueError) as error:
        trace.main([str(folder), *arguments])
    assert told in str(error.value)


def test_a_document_that_was_dropped_or_held_out_says_so(folder: Path, run: trace.Run) -> None:
    ledger = {"id": "notes/gone", "stage": "near_dedup", "reason": "near_duplicate", "detail": '{"of": "notes/1"}'}
    for path, frame in (
        ("removed/near_dedup/00000.parquet", pl.DataFrame([ledger])),
        ("held_out/domain/notes/00000.parquet", pl.DataFrame({"id": ["notes/held"]})),
    ):
        (folder / path).parent.mkdir(parents=True)
        frame.write_parquet(folder / path)
    with pytest.raises(ValueError, match="near_dedup dropped it as near_duplicate"):
        trace.trace_document(run, "notes/gone")
    with pytest.raises(ValueError, match="held out for evaluation"):
        trace.trace_document(run, "notes/held")


def test_a_training_run_of_another_plan_is_refused_and_several_must_be_named(folder: Path) -> None:
    pipeline = config.load(folder / "pipeline.yaml")
    train(folder, "old", {"mixture.json": "0123456789abcdef"})
    with pytest.raises(ValueError, match="was trained on plan 0123456789abcdef"):
        trace.open_run(pipeline)
    train(folder, "new", {"train.global_batch": 4})
    with pytest.raises(ValueError, match="There is: new, old. Name one with --train"):
        trace.open_run(pipeline)
    assert trace.open_run(pipeline, "new").global_batch == 4


def test_documents_that_are_not_those_packed_are_refused_and_missing_ones_have_no_origin(
    folder: Path, run: trace.Run
) -> None:
    path = next((folder / "documents/domain/notes").glob("*.parquet"))
    documents = pl.read_parquet(path)
    documents.with_columns(pl.col("id") + "x").write_parquet(path)
    with pytest.raises(ValueError, match="these are not the documents that"):
        [trace.trace_step(run, step) for step in range(1, STEPS + 1)]
    (folder / "documents").rename(folder / "elsewhere")
    assert trace.trace_step(run, 1)["origin"].is_null().all()


def test_the_worst_are_those_the_exported_model_finds_hardest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    training = train(folder)
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=400, max_position_embeddings=64, **shape)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    model.save_pretrained(training / "export")
    trace.main([str(folder), "--step", "2", "--worst", "4", "--json"])
    worst = json.loads(capsys.readouterr().out)["segments"]
    scores = [segment["bits_per_byte"] for segment in worst]
    assert len(worst) == 4 and scores == sorted(scores, reverse=True) and scores[0] > scores[-1]
    run = trace.open_run(config.load(folder / "pipeline.yaml"))
    documents = ids_of_documents(folder)
    text = dict(pl.read_parquet(folder / "documents/*/*/*.parquet", columns=["id", "text"]).iter_rows())
    encoder, tokenizer = Encoder(folder / "tokenizer"), load(folder / "tokenizer")
    for segment in worst:
        ids = documents[segment["id"]][segment["first_token"] :][: segment["tokens"]].astype(np.int64)
        with torch.no_grad():
            logits = model(torch.from_numpy(ids)[None]).logits[0, :-1]
        nats = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[1:]), reduction="sum").item()
        size = sum(len(str(tokenizer.id_to_token(token))) for token in ids[1:] if token != encoder.eos)
        assert segment["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-4)
        if segment["tokens"] == segment["document_tokens"]:
            assert size == len(text[segment["id"]].encode())
    assert trace.trace_step(run, 2).height > 4
    trace.main([str(folder), "--step", "2", "--worst", "1"])
    assert "bits/byte" in capsys.readouterr().out
