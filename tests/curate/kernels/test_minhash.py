import random

import numpy as np
import polars as pl
from datasketch import MinHash, MinHashLSH

from curate.kernels.minhash import EMPTY, shingles, signatures
from tests.curate.corpus import sentences


def edited(text, share, seed):
    draw = random.Random(seed)
    return " ".join(f"edit{draw.random()}" if draw.random() < share else word for word in text.split())


def jaccard(one, other):
    first, second = set(shingles(one).tolist()), set(shingles(other).tolist())
    return len(first & second) / len(first | second)


def test_rows_are_those_datasketch_computes():
    texts = [sentences(seed, 1 + seed * 3) for seed in range(8)] + ["three short words", "naïve Ärzte 漢字"]
    rows = signatures(pl.Series(texts))
    for text, row in zip(texts, rows, strict=True):
        theirs = MinHash(num_perm=112, seed=1, scheme="affine32", hashfunc=int)
        theirs.update_batch(shingles(text).tolist())
        assert np.array_equal(theirs.hashvalues, row)


def test_rows_load_as_datasketch_and_estimate_jaccard():
    text = sentences(1, 300)
    for share in (0.01, 0.05, 0.2):
        other = edited(text, share, seed=3)
        rows = signatures(pl.Series([text, other]), permutations=512)
        one, two = (MinHash(num_perm=512, hashvalues=row, seed=1, scheme="affine32") for row in rows)
        estimate = one.jaccard(two)
        assert estimate == (rows[0] == rows[1]).mean()
        exact = jaccard(text, other)
        assert abs(estimate - exact) < 4 * np.sqrt(exact * (1 - exact) / 512) + 1e-9


def test_datasketch_lsh_serves_our_rows():
    texts = [sentences(seed, 20) for seed in range(30)]
    lsh = MinHashLSH(params=(14, 8), num_perm=112)
    for number, row in enumerate(signatures(pl.Series(texts))):
        lsh.insert(number, MinHash(num_perm=112, hashvalues=row, scheme="affine32"))
    [row] = signatures(pl.Series([texts[7].upper().replace(" ", "  ")]))
    assert lsh.query(MinHash(num_perm=112, hashvalues=row, scheme="affine32")) == [7]


def test_short_documents():
    rows = signatures(
        pl.Series(["one two three", "One, two: three!", "one two four", "", "...", "one two three four five six"])
    )
    assert np.array_equal(rows[0], rows[1])
    assert (rows[0] == rows[2]).mean() < 0.1
    assert (rows[3] == EMPTY).all() and (rows[4] == EMPTY).all()
    assert len(shingles("one two three")) == 1 and len(shingles("one two three four five six")) == 2
    assert len(shingles("")) == 0


def test_rows_do_not_depend_on_neighbours():
    texts = [sentences(seed, 1 + seed % 40) for seed in range(400)]
    assert np.array_equal(signatures(pl.Series(texts))[37:40], signatures(pl.Series(texts[37:40])))


def test_a_document_of_100_megabytes():
    text = sentences(5, 40) + " ünd "
    big, small = text * (100_000_000 // len(text)), text * 3
    assert len(big) > 99_000_000
    assert np.array_equal(*signatures(pl.Series([big, small])))
