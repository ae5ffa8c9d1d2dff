"""mix.build packs every kept document once, says what is wrong, and can be killed at any moment."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.files import read_json
from mix.build import build, main
from mix.plan import Plan
from mix.plan_file import read_plan
from mix.shards import read_shard
from pipelines import config
from tests.mix.conftest import make_documents, make_tokenizer
from tokenization.encode import Encoder

KILLED = """
import os, signal, sys
left = int(sys.argv[1])
replace = os.replace
def replace_or_die(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*arguments)
os.replace = replace_or_die
from mix.build import main
main([sys.argv[2]])
"""


KNOT = {"step": 5, "domain": 0.5, "replay": 0.5}


def run_build(run: Path, **overrides: object) -> Plan:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return build(config.load(run / "pipeline.yaml", keys))


def contents(run: Path) -> dict[str, str]:
    """Hash of every file of the packed mixture."""
    files = [path for path in sorted((run / "packed").rglob("*")) if path.is_file()] + [run / "mixture.json"]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def moments(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted((run / "packed").rglob("*")) if path.is_file()}


def test_every_document_is_in_the_shards_once(make_run: Callable[..., Path]) -> None:
    run = make_run()
    plan = run_build(run)
    encoder = Encoder(run / "tokenizer")
    for pool, source in plan.sources:
        documents = pl.concat(
            [pl.read_parquet(file) for file in sorted((run / "documents" / pool.name / source.name).glob("*.parquet"))]
        )
        found: list[dict[int, list[int]]] = [{} for _ in range(documents.height)]
        for file in source.shards:
            shard = read_shard(run / "packed" / file.file, encoder.identity, 64)
            for row in range(shard.rows):
                at = 0
                for segment in range(shard.segment_offsets[row], shard.segment_offsets[row + 1]):
                    length = int(shard.doc_lengths[segment])
                    document, start = int(shard.doc_rows[segment]), int(shard.doc_starts[segment])
                    if document >= 0:
                        assert start not in found[document]
                        found[document][start] = shard.tokens[row, at : at + length].tolist()
                    at += length
        encoded = encoder.encode(documents["text"])
        table = pl.read_parquet(run / "packed" / pool.name / source.name / "documents.parquet")
        assert table["id"].to_list() == documents["id"].to_list()
        assert table["tokens"].to_list() == encoded.lengths.tolist()
        for pieces, ids in zip(found, np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1]), strict=True):
            assert sum((pieces[start] for start in sorted(pieces)), []) == ids.tolist()
        assert source.tokens == len(encoded.ids) and source.cut == sum(len(pieces) > 1 for pieces in found)


def test_every_batch_has_its_share_and_the_file_says_what_was_got(make_run: Callable[..., Path]) -> None:
    run = make_run(steps=20, global_batch=8)
    run_build(run, mix__domain=0.7, mix__replay=0.3)
    plan, mixture = read_plan(run / "mixture.json"), read_json(run / "mixture.json")
    pools = np.array([pool.name == "domain" for pool, _ in plan.sources])[plan.rows(0, 160).source]
    assert all(abs(int(count) - 8 * Fraction(7, 10)) < 1 for count in pools.reshape(20, 8).sum(1))
    assert mixture["asked"] == {"domain": 0.7, "replay": 0.3}
    assert mixture["got"]["domain"]["rows"] == pools.sum() == 112
    assert sum(source["rows"] for source in mixture["got"]["replay"]["sources"].values()) == 48
    assert config.load(run / "pipeline.yaml").mix.domain == 0.7


def test_another_ratio_leaves_the_shards_alone(make_run: Callable[..., Path], capsys) -> None:
    run = make_run()
    first = run_build(run)
    before = moments(run)
    second = run_build(run, mix__domain=0.5, mix__replay=0.5, mix__seed=3)
    assert moments(run) == before
    assert first.identity != second.identity
    assert "packed 0 sources, 5 were packed before" in capsys.readouterr().out


def test_only_what_changed_is_packed_again_and_what_is_gone_goes(make_run: Callable[..., Path]) -> None:
    run = make_run()
    run_build(run)
    before = moments(run)
    make_documents(run / "documents", "domain", "notes", 60, seed=1)
    for file in (run / "documents" / "domain" / "letters").iterdir():
        file.unlink()
    (run / "documents" / "domain" / "letters").rmdir()
    (run / "packed" / "replay" / "web" / "00000.arrow").write_bytes(b"cut")
    (run / "packed" / "other").mkdir()
    plan = run_build(run)
    after = moments(run)
    changed = {Path(path).parent.name for path in after if after[path] != before.get(path)}
    assert changed == {"notes", "web"}
    assert [source.name for _, source in plan.sources] == ["abstracts", "notes", "books", "web"]
    assert not (run / "packed" / "domain" / "letters").exists() and not (run / "packed" / "other").exists()


def test_another_tokenizer_or_row_length_packs_all_again(make_run: Callable[..., Path]) -> None:
    run = make_run()
    first = run_build(run)
    longer = run_build(run, mix__seq_len=128)
    assert longer.sources[0][1].rows < first.sources[0][1].rows
    make_tokenizer(run / "tokenizer", vocabulary=300)
    other = run_build(run)
    assert other.tokenizer != first.tokenizer and other.sources[0][1].tokens > first.sources[0][1].tokens


def test_the_same_command_gives_the_same_bytes(make_run: Callable[..., Path]) -> None:
    one, two = make_run("one"), make_run("two")
    run_build(one)
    run_build(two)
    assert contents(one) == contents(two)
    run_build(two)
    assert contents(one) == contents(two)


def test_killed_before_any_file_appears_it_ends_the_same(make_run: Callable[..., Path]) -> None:
    """Killed 3 times, each time some files further, the last run of the same command gives the undisturbed bytes."""
    calm, run = make_run("calm"), make_run("killed")
    run_build(calm)
    for files in (0, 2, 5):
        ended = subprocess.run([sys.executable, "-c", KILLED, str(files), str(run)], capture_output=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        assert not (run / "mixture.json").exists(), "no plan over unfinished shards"
    run_build(run)
    assert contents(run) == contents(calm)


def test_killed_while_packing_again_it_leaves_no_plan_of_the_old_shards(make_run: Callable[..., Path]) -> None:
    calm, run = make_run("calm"), make_run("killed")
    run_build(calm, mix__seq_len=128)
    run_build(run)
    pipeline = (run / "pipeline.yaml").read_text().replace("seq_len: 64", "seq_len: 128")
    (run / "pipeline.yaml").write_text(pipeline)
    ended = subprocess.run([sys.executable, "-c", KILLED, "2", str(run)], capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert not (run / "mixture.json").exists()
    run_build(run)
    assert contents(run) == contents(calm)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mix__domain": 0.7}, r"mix.domain, mix.replay: 0.7 \+ 0.2 is 0.9, not 1.*--replay 0.3"),
        ({"mix__domain": 0.0, "mix__replay": 0.999999999999}, "not 1"),
        ({"mix__domain": 0.8000000000001, "mix__replay": 0.1999999999999}, "more decimals"),
        ({"train__steps": 10_000}, r"mix.max_epochs: 4 is the most .*What fits: train.steps at most [\d,]+"),
        ({"train__steps": 1_000, "mix__max_epochs": 0.5}, "mix.max_epochs: 0.5 is the most"),
        (
            {"train__steps": 100, "mix__max_epochs": {"notes": 1, "default": 9}},
            r"mix.max_epochs: 1 is the most .*mix.domain 0.8 asks for 640 rows .* there are of notes \d+, repeated "
            r"[\d.]+ times \(allowed 1\)\. What fits: .*mix.when_capped: rescale",
        ),
        ({"mix__max_epochs": {"note": 1}}, "mix.max_epochs: there is no source note. Sources are domain/abstracts, "),
        ({"mix__weights": {"notes": 1}}, "mix.weights: names some sources of the pool domain, but not abstracts, let"),
        ({"mix__weights": {"web": 0, "books": 0}}, "mix.weights: leaves out every source of the pool replay"),
        ({"mix__schedule": [KNOT, KNOT]}, r"mix.schedule\[1\].step: 5 does not come after 5"),
        ({"mix__schedule": [{**KNOT, "replay": 0.3}]}, r"mix.schedule\[0\]: 0.5 \+ 0.3 is 0.8, not 1"),
        ({"mix__schedule": [{**KNOT, "shares": 1}]}, r"mix.schedule\[0\]: .*there is no key shares in a knot"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused_by_its_key(
    make_run: Callable[..., Path], overrides: dict[str, object], message: str
) -> None:
    run = make_run()
    with pytest.raises(ValueError, match=message):
        run_build(run, **overrides)
    assert not (run / "mixture.json").exists()


def test_the_steps_said_to_fit_do_fit(make_run: Callable[..., Path]) -> None:
    run = make_run()
    with pytest.raises(ValueError) as refused:
        run_build(run, train__steps=10_000)
    said = str(refused.value).split("train.steps at most ")[1].split(", or")[0].replace(",", "")
    run_build(run, train__steps=int(said))
    with pytest.raises(ValueError):
        run_build(run, train__steps=int(said) + 1)


def test_missing_parts_of_a_run_are_named(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run()
    (run / "documents" / "replay").rename(tmp_path / "away")
    with pytest.raises(ValueError, match="mix.replay: asks for 0.2 of every batch, but .* the pool is empty"):
        run_build(run)
    assert run_build(run, mix__domain=1.0, mix__replay=0.0).taken(10)
    (tmp_path / "away").rename(run / "documents" / "replay")
    broken = run / "documents" / "replay" / "web" / "00000.parquet"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(ValueError, match="00000.parquet: cannot be read as documents"):
        run_build(run)
    (run / "documents").rename(tmp_path / "documents")
    with pytest.raises(ValueError, match="documents: there are no documents to pack"):
        run_build(run)
    (tmp_path / "documents").rename(run / "documents")
    (run / "documents" / "replay" / "web" / "00000.parquet").unlink()
    (run / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="tokenizer.json: there is no such file"):
        run_build(run)


def test_a_schedule_is_followed_and_written(make_run: Callable[..., Path], capsys) -> None:
    run = make_run(steps=20, global_batch=8)
    plan = run_build(run, mix__schedule=[{**KNOT, "step": 4}, {"step": 12, "domain": 1.0, "replay": 0.0}])
    mixture, saved = read_json(run / "mixture.json"), config.load(run / "pipeline.yaml").mix
    batches = (plan.rows(0, 160).source < 3).reshape(20, 8).sum(1)
    assert batches[:5].tolist() == [4] * 5 and batches[12:].tolist() == [8] * 8
    assert all(abs(int(count) - 8 * (0.5 + step / 16)) < 1 for step, count in enumerate(batches[4:13]))
    assert mixture["asked"]["domain"] == (5 * 4 + sum(4 + step / 2 for step in range(1, 8)) + 64) / 160
    assert (saved.domain, saved.replay, saved.schedule[1].step) == (0.5, 0.5, 12)
    assert read_plan(run / "mixture.json") == plan and plan.global_batch == 8
    assert any("domain pool's share is 50 % at step 0" in sentence for sentence in mixture["advice"])
    assert "50.00% -> 100.00%" in capsys.readouterr().out


def test_shares_on_the_command_line_beside_a_schedule_are_refused(make_run: Callable[..., Path]) -> None:
    run = make_run()
    main([str(run), "--schedule", "[{step: 0, domain: 0.7, replay: 0.3}]"])
    with pytest.raises(ValueError, match=r"--domain --replay: .*has a mix.schedule.* add --schedule '\[\]'"):
        main([str(run), "--domain", "0.6", "--replay", "0.4"])
    main([str(run), "--domain", "0.6", "--replay", "0.4", "--schedule", "[]"])
    assert [pool.share for pool in read_plan(run / "mixture.json").pools] == [Fraction(3, 5), Fraction(2, 5)]


def test_weights_inside_a_pool(make_run: Callable[..., Path]) -> None:
    run = make_run(steps=20, global_batch=8)
    natural = run_build(run)
    rows = [source.rows for _, source in natural.sources]
    assert natural.schedule[0].shares.sources == (tuple(rows[:3]), tuple(rows[3:]))
    given = run_build(run, mix__weights={"abstracts": 1, "letters": 0, "domain/notes": 3})
    assert given.taken(160)[:3] == [32, 0, 96] and given.schedule[0].shares.sources[1] == tuple(rows[3:])
    even = run_build(run, mix__temperature=1000.0, mix__weights="natural")
    assert max(even.taken(160)[:3]) - min(even.taken(160)[:3]) <= 3
    later = {"step": 10, "domain": 0.8, "replay": 0.2, "weights": {"web": 0, "books": 1}}
    ramp = run_build(run, mix__schedule=[{"step": 0, "domain": 0.8, "replay": 0.2}, later], mix__weights="natural")
    assert np.array_equal(ramp.rows(80, 80).source != 4, np.full(80, True))
    assert (ramp.rows(0, 80).source == 4).any()


def test_a_capped_source_gets_what_its_cap_allows_and_the_others_the_rest(
    make_run: Callable[..., Path], capsys
) -> None:
    run = make_run(steps=100, global_batch=8)
    caps = {"letters": 1, "notes": 2, "default": 9}
    plan = run_build(run, mix__max_epochs=caps, mix__when_capped="rescale")
    taken = plan.taken(800)
    rows = [source.rows for _, source in plan.sources]
    assert abs(taken[1] - rows[1]) <= 2 and abs(taken[2] - 2 * rows[2]) <= 2
    assert sum(taken[:3]) == 640
    told = read_json(run / "mixture.json")["rescaled"]
    assert [line.split(":")[0] for line in told] == ["domain/letters", "domain/notes"]
    assert "1.00 epochs" in told[0] and "mix.max_epochs: domain/letters" in capsys.readouterr().out
    with pytest.raises(ValueError, match="mix.max_epochs: 1 or 2 is the most"):
        run_build(run, mix__max_epochs={**caps, "default": 2}, mix__when_capped="rescale")
