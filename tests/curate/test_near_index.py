import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash

from curate.files import write_json
from curate.kernels.minhash import signatures as signatures_of
from curate.kernels.near_duplicates import band_keys
from curate.near_dedup import NearDedup
from curate.near_index import documents, ids, segments
from curate.stage import Workspace
from tests.curate import corpus
from tests.curate.kernels.test_minhash import edited, jaccard


def crawl(name, documents, families=400, share=0.9):
    """Measured documents: signatures of so many families, of which members agree in `share` squared of the rows."""
    draw = np.random.default_rng(ord(name))
    centres = np.random.default_rng(9).integers(0, 2**32 - 1, (families, 112), dtype=np.uint32)
    rows = centres[draw.integers(0, families, documents)]
    rows = np.where(draw.random(rows.shape) < share, rows, draw.integers(0, 2**32 - 1, rows.shape, dtype=np.uint32))
    names = [f"{name}/{number}" for number in range(documents)]
    return pl.DataFrame({"id": names, "signature": pl.Series(rows, dtype=pl.Array(pl.UInt32, 112))})


def parts_of(frame, rows=100):
    return list(frame.iter_slices(rows))


def stage(folder, run="z", **keys):
    """The stage as a run has it that reads a file for each of the letters of `run`."""
    made = NearDedup(**keys)
    sources = {letter: f"bytes of {letter}" for letter in run}
    made._workspace = Workspace(folder, [], [], False, "p.yaml: curate.stages[0].near_dedup", sources=sources)
    return made


def decided(made, parts):
    """id, reason and detail of every document."""
    given = list(made.decide(parts))
    assert [len(one.reason) for one in given] == [part.height for part in parts]
    frames = [
        pl.DataFrame(
            {"id": part["id"], "reason": one.reason, "detail": one.detail}, schema_overrides={"reason": pl.String}
        )
        for part, one in zip(parts, given, strict=True)
    ]
    return pl.concat(frames)


def bytes_of(index):
    return {str(path.relative_to(index)): path.read_bytes() for path in index.rglob("*") if path.is_file()}


@pytest.mark.parametrize("share", [0.8, 0.88, 0.9, 0.95])
def test_a_memory_limit_changes_no_verdict(share, tmp_path):
    parts = parts_of(crawl("r", 6000, share=share))
    whole = decided(stage(tmp_path), parts)
    assert whole["reason"].null_count() < 6000
    assert whole.equals(decided(stage(tmp_path, memory_mb=1), parts))  # 1,300 documents a block
    assert whole.equals(decided(stage(tmp_path, memory_mb=2), parts_of(crawl("r", 6000, share=share), rows=777)))
    assert list(tmp_path.iterdir()) == []  # what earlier blocks kept is only there while it is needed


def test_crawls_in_turn_keep_what_one_run_over_all_keeps(tmp_path):
    everything = crawl("s", 3000)
    whole = decided(stage(tmp_path / "whole"), parts_of(everything))
    draw = np.random.default_rng(0)
    for trial in range(12):
        cuts = sorted(draw.integers(0, 3001, draw.integers(1, 5)).tolist())
        bounds = [0, *cuts, 3000]
        index = tmp_path / f"index-{trial}"
        found = []
        for number, (first, last) in enumerate(zip(bounds, bounds[1:], strict=False)):
            parts = parts_of(everything[first:last], rows=int(draw.integers(1, 900)))
            keys = {"index": str(index), "memory_mb": int(draw.integers(1, 3))}
            found.append(decided(stage(tmp_path / "work", "abcdefgh"[number], **keys), parts))
        assert pl.concat(found).equals(whole)
        assert [one.number for one in segments(index)] == list(range(1, len(bounds)))
        files = [path for segment in segments(index) for path in segment.files]
        assert list(ids(files, np.arange(3000)).values()) == whole.filter(pl.col("reason").is_null())["id"].to_list()


def test_the_index_says_the_same_whatever_the_memory(tmp_path):
    parts = parts_of(crawl("t", 4000))
    for name, limit in (("a", 1), ("b", 100)):
        decided(stage(tmp_path, index=str(tmp_path / name), memory_mb=limit), parts)
    one, other = (segments(tmp_path / name)[0] for name in "ab")
    assert len(one.files) > 1 and len(other.files) == 1
    assert one.manifest.read_bytes() == other.manifest.read_bytes()
    assert pl.read_parquet(one.files).equals(pl.read_parquet(other.files))
    for keys, signatures in documents(one.files):
        assert np.array_equal(keys, band_keys(signatures(), 14, 8))


def test_a_run_is_not_compared_with_itself(tmp_path):
    index = tmp_path / "index"
    parts = parts_of(crawl("u", 500))
    first = decided(stage(tmp_path, "a", index=str(index)), parts)
    decided(stage(tmp_path, "b", index=str(index)), parts_of(crawl("v", 500)))
    before = bytes_of(index)
    assert stage(tmp_path, "a", index=str(index)).inputs() == []
    assert first.equals(decided(stage(tmp_path, "a", index=str(index)), parts))
    assert bytes_of(index) == before
    [input_file] = stage(tmp_path, "b", index=str(index)).inputs()
    assert json.loads(Path(input_file).read_text())["sources"] == {"a": "bytes of a"}


def test_another_run_of_the_same_text_finds_everything_there(tmp_path):
    parts = parts_of(crawl("u", 500))
    decided(stage(tmp_path, "a", index=str(tmp_path / "index")), parts)
    again = decided(stage(tmp_path, "b", index=str(tmp_path / "index")), parts)
    assert again["reason"].null_count() == 0
    assert segments(tmp_path / "index")[1].facts["documents"] == 0


def test_a_stopped_run_leaves_the_index_as_it_was(tmp_path):
    index = tmp_path / "index"
    decided(stage(tmp_path, "a", index=str(index)), parts_of(crawl("u", 500)))
    before = bytes_of(index)
    parts = parts_of(crawl("v", 4000))
    verdicts = stage(tmp_path, "b", index=str(index), memory_mb=1).decide(parts)
    for _ in range(20):
        next(verdicts)
    [killed] = index.glob(".*.tmp")
    assert list(killed.iterdir())
    assert len(segments(index)) == 1
    shutil.copytree(killed, tmp_path / "as killed")
    verdicts.close()
    assert bytes_of(index) == before
    shutil.copytree(tmp_path / "as killed", killed)
    finished = decided(stage(tmp_path, "b", index=str(index), memory_mb=1), parts)
    shutil.copytree(index / "00001", tmp_path / "other" / "00001")
    assert finished.equals(decided(stage(tmp_path, "b", index=str(tmp_path / "other"), memory_mb=1), parts))
    assert bytes_of(index) == bytes_of(tmp_path / "other")


def test_a_changed_run_takes_its_own_place_if_nothing_was_compared_with_it(tmp_path):
    index = tmp_path / "index"
    parts = parts_of(crawl("w", 600))
    decided(stage(tmp_path, "a", index=str(index)), parts)
    decided(stage(tmp_path, "a", index=str(index)), parts[:3])
    assert [one.number for one in segments(index)] == [1]
    alone = decided(stage(tmp_path, "a"), parts[:3])
    assert segments(index)[0].facts["documents"] == alone["reason"].null_count()
    decided(stage(tmp_path, "b", index=str(index)), parts_of(crawl("x", 600)))
    before = bytes_of(index)
    with pytest.raises(ValueError, match=r"00001: was made from the same sources .*00002 came later"):
        decided(stage(tmp_path, "a", index=str(index)), parts)
    assert bytes_of(index) == before


def test_a_segment_added_meanwhile_is_noticed(tmp_path):
    index = tmp_path / "index"
    parts = parts_of(crawl("w", 300))
    verdicts = stage(tmp_path, "a", index=str(index)).decide(parts)
    next(verdicts)
    decided(stage(tmp_path, "b", index=str(index)), parts_of(crawl("x", 300)))
    with pytest.raises(ValueError, match="added by another run while this one was deciding"):
        list(verdicts)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ngram": 4}, "00001 was made with ngram: 5 and this stage has ngram: 4"),
        ({"bands": 16, "rows": 7}, "00001 was made with bands: 14 and this stage has bands: 16"),
        ({"rows": 7}, "00001 was made with rows: 8 and this stage has rows: 7"),
    ],
)
def test_other_keys_are_refused(keys, message, tmp_path):
    index = tmp_path / "index"
    decided(stage(tmp_path, "a", index=str(index)), parts_of(crawl("w", 300)))
    with pytest.raises(ValueError, match=r"p.yaml: curate.stages\[0\].near_dedup.index: .*" + message):
        stage(tmp_path, "b", index=str(index), **keys).inputs()


def test_other_hashes_are_refused(tmp_path):
    index = tmp_path / "index"
    decided(stage(tmp_path, "a", index=str(index)), parts_of(crawl("w", 300)))
    [segment] = segments(index)
    write_json(segment.manifest, segment.facts | {"hashes": "others"})
    with pytest.raises(ValueError, match="made with hashes: others and this stage has hashes: datasketch"):
        stage(tmp_path, "b", index=str(index)).inputs()


def test_a_damaged_index_is_refused(tmp_path):
    index = tmp_path / "index"
    decided(stage(tmp_path, "a", index=str(index), memory_mb=1), parts_of(crawl("w", 3000, families=3000)))
    segments(index)[0].files[1].unlink()
    with pytest.raises(ValueError, match=r"00001: holds \d+ documents instead of \d+"):
        decided(stage(tmp_path, "b", index=str(index)), parts_of(crawl("x", 300)))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="near_dedup.index: .*file is a file"):
        stage(tmp_path, index=str(tmp_path / "file")).inputs()


def test_saved_signatures_load_as_datasketch(tmp_path):
    texts = [corpus.sentences(seed, 30) for seed in range(40)]
    texts += [edited(text, 0.05, seed) for seed, text in enumerate(texts)]
    documents = pl.DataFrame({"id": [f"notes/{number}" for number in range(80)], "text": texts})
    made = stage(tmp_path, index=str(tmp_path / "index"))
    given = decided(made, [documents.select("id").hstack(made.measure(documents))])
    [path] = segments(tmp_path / "index")[0].files
    saved = pl.read_parquet(path)
    assert saved["id"].to_list() == given.filter(pl.col("reason").is_null())["id"].to_list()
    minhashes = {
        name: MinHash(num_perm=112, hashvalues=row, seed=1, scheme="affine32")
        for name, row in zip(saved["id"], saved["signature"].to_numpy(), strict=True)
    }
    fresh = dict(zip(documents["id"], signatures_of(documents["text"]), strict=True))
    assert all(np.array_equal(fresh[name], one.hashvalues) for name, one in minhashes.items())
    both = [number for number in range(40) if {f"notes/{number}", f"notes/{number + 40}"} <= minhashes.keys()]
    assert len(both) > 20
    for number in both:
        one, other = f"notes/{number}", f"notes/{number + 40}"
        estimate = minhashes[one].jaccard(minhashes[other])
        assert estimate == (fresh[one] == fresh[other]).mean()
        exact = jaccard(texts[number], texts[number + 40])
        assert abs(estimate - exact) < 4 * np.sqrt(exact * (1 - exact) / 112) + 1e-9


def test_a_file_read_again_beside_new_ones_keeps_what_it_kept(tmp_path):
    old, new = crawl("a", 900), crawl("b", 900)
    whole = decided(stage(tmp_path), parts_of(pl.concat([old, new])))
    index = str(tmp_path / "index")
    first = decided(stage(tmp_path, "a", index=index), parts_of(old))
    added = bytes_of(tmp_path / "index")
    both = stage(tmp_path, "ab", index=index)
    assert decided(both, parts_of(pl.concat([new, old]), rows=333)).sort("id").equals(whole.sort("id"))
    assert whole.head(900).equals(first)
    assert added.items() <= bytes_of(tmp_path / "index").items()
    found = [one.facts["documents"] for one in segments(tmp_path / "index")]
    assert found == [first["reason"].null_count(), whole[900:]["reason"].null_count()]


def test_a_file_whose_bytes_changed_is_another_one(tmp_path):
    parts = parts_of(crawl("a", 300))
    decided(stage(tmp_path, "a", index=str(tmp_path / "index")), parts)
    other = stage(tmp_path, "a", index=str(tmp_path / "index"))
    other.workspace.sources["a"] = "other bytes"
    assert decided(other, parts)["reason"].null_count() == 0


def two_crawls(root):
    """A folder with both crawls, and each in a folder of its own; the second repeats a third of the first.

    All have the same replay file.
    """
    first = [{"id": f"r{number}", "text": corpus.sentences(number, 8)} for number in range(60)]
    second = [{"id": f"r{number}", "text": corpus.sentences(1000 + number, 8)} for number in range(60)]
    for number in range(0, 60, 3):
        second[number]["text"] = edited(first[number]["text"], 0.01, number)
    news = [{"id": f"r{number}", "text": corpus.sentences(2000 + number, 8)} for number in range(20)]
    for name, records in (("a", first), ("b", second)):
        for folder in ("both", name):
            corpus.write_lines(root / folder / "domain" / f"{name}.jsonl.gz", records)
            corpus.write_lines(root / folder / "general" / "news.jsonl.gz", news)
    return {name: root / name for name in ("both", "a", "b")}


def curate(root, output, index, **changes):
    keys = {"index": str(index)} if index else {}
    return corpus.curate(root, output, [{"near_dedup": keys}], eval={"held_out": 0}, **changes)


def test_pipelines_in_turn_keep_what_one_keeps_and_run_once(tmp_path):
    roots = two_crawls(tmp_path)
    index = tmp_path / "index"
    curate(roots["both"], tmp_path / "run", None)
    manifests = [curate(roots[name], tmp_path / f"run {name}", index) for name in "ab"]
    halves = [corpus.kept(tmp_path / f"run {name}") for name in "ab"]
    assert set(halves[0]) & set(halves[1]) == {f"news/r{number}" for number in range(20)}
    assert sorted({*halves[0], *halves[1]}) == sorted(corpus.kept(tmp_path / "run"))
    assert 10 < corpus.ledger(tmp_path / "run b").height < 25
    before = bytes_of(index)
    assert [curate(roots[name], tmp_path / f"run {name}", index) for name in "ab"] == manifests
    shutil.rmtree(tmp_path / "run b")
    assert curate(roots["b"], tmp_path / "run b", index)["stages"][-1]["documents_removed"] > 10
    assert bytes_of(index) == before


def test_a_pipeline_whose_documents_left_the_index_says_so(tmp_path):
    roots = two_crawls(tmp_path)
    curate(roots["a"], tmp_path / "run", tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(ValueError, match="does not hold what this run added to it"):
        curate(roots["a"], tmp_path / "run", tmp_path / "index")
    shutil.rmtree(tmp_path / "run" / "work")
    curate(roots["a"], tmp_path / "run", tmp_path / "index")
    assert len(segments(tmp_path / "index")) == 1
