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
from mix.build import build
from mix.plan import Plan, read_plan
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
        assert source.tokens == len(encoded.ids) and source.cut == (encoded.lengths > 64).sum()


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
