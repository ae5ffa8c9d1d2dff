"""Rows from similar tokens, after FOCUS (Dobler and de Melo 2023, arXiv 2305.14481).

The domain text is cut by the extended tokenizer, and static vectors of its tokens are learned by fastText's skip-gram
(Bojanowski et al. 2017, arXiv 1607.04606). A new token's row is the sum of base tokens' rows, weighted by the sparsemax
(Martins and Astudillo 2016, arXiv 1602.02068) of the cosines between its vector and theirs.

One thread and a fixed start: the same text gives the same vectors. fastText 0.9.2 with one thread sets only the first
tenth of its vectors and leaves the rest as the memory was; so every vector is given to it as a "pretrained" one.
20 MB of text take about a minute.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenization.new_rows import Combination

if TYPE_CHECKING:
    import numpy as np

LEARNED_ON = 20_000_000
"""UTF-8 bytes of text read; of more, documents evenly spread over the files are taken."""
DIMENSIONS = 100
EPOCHS = 3
"""As FOCUS."""
MIN_COUNT = 10
"""A token that the text holds less often has no vector (as FOCUS)."""
SEED = 0
TOGETHER = 64
"""New tokens compared at a time."""


def neighbours(
    files: Sequence[Path], tokenizer: Path, base_tokens: int, new: Sequence[int]
) -> tuple[dict[int, Combination], int]:
    """New id -> the base tokens (ids below `base_tokens`) it is like, and the number of bytes learned on.

    `files` are Parquet, JSON lines or text. New tokens that stand less than MIN_COUNT times in the text are left out.
    Raises ValueError where the text is too short to compare any.
    """
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "ids.txt"
        counts, size = _write_ids(files, tokenizer, lines)
        seen = np.flatnonzero(counts >= MIN_COUNT)
        wanted = np.intersect1d(seen, np.array(new, np.int64))
        base = seen[seen < base_tokens]
        if not len(wanted) or not len(base):
            raise ValueError(
                f"--text: no new token stands {MIN_COUNT} times in its {size:,} bytes, so none can be compared with "
                "others. Give the domain text that the tokenizer was extended on, or --method mean."
            )
        vectors = _vectors(lines, seen)
    place = {int(index): at for at, index in enumerate(seen)}
    known = vectors[[place[index] for index in base.tolist()]]
    found: dict[int, Combination] = {}
    for start in range(0, len(wanted), TOGETHER):
        some = wanted[start : start + TOGETHER]
        likeness = vectors[[place[index] for index in some.tolist()]] @ known.T
        for index, weights in zip(some.tolist(), sparsemax(likeness), strict=True):
            chosen = np.flatnonzero(weights)
            found[index] = base[chosen], weights[chosen]
    return found, size


def sparsemax(scores: "np.ndarray") -> "np.ndarray":
    """The nearest point of the probability simplex to each row of `scores` [N, K]; most of it is 0.

    >>> import numpy as np
    >>> sparsemax(np.array([[0.5, 0.3, -1.0]])).round(3).tolist()
    [[0.6, 0.4, 0.0]]
    """
    import numpy as np

    ordered = -np.sort(-scores.astype(np.float64), axis=1)
    sums = np.cumsum(ordered, axis=1) - 1
    number = np.arange(1, scores.shape[1] + 1)
    kept = (ordered * number > sums).sum(axis=1)
    threshold = sums[np.arange(len(scores)), kept - 1] / kept
    weights = np.maximum(scores - threshold[:, None], 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _write_ids(files: Sequence[Path], tokenizer: Path, target: Path) -> tuple["np.ndarray", int]:
    """Write the ids of the text, a document a line. Returns how often each id stands in it, and the bytes read."""
    import numpy as np

    from tokenization.encode import Encoder

    encoder = Encoder(tokenizer)
    marks = [mark for mark in (encoder.bos, encoder.eos) if mark is not None]
    counts = np.zeros(encoder.vocabulary_size, np.int64)
    size = 0
    with open(target, "w", encoding="ascii") as out:
        for column in _some(files):
            encoded = encoder.encode(column)
            size += int(column.str.len_bytes().sum() or 0)
            counts += np.bincount(encoded.ids, minlength=len(counts))
            for document in np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1]):
                out.write(" ".join(map(str, document[~np.isin(document, marks)].tolist())) + "\n")
    counts[marks] = 0
    return counts, size


def _some(files: Sequence[Path]) -> Iterator[Any]:
    """Columns of every n-th document, so that they hold at most about LEARNED_ON bytes together."""
    from tokenization.counting import read_texts

    total = sum(int(column.str.len_bytes().sum() or 0) for column in read_texts(files))
    every = max(1, -(-total // LEARNED_ON))
    passed = 0
    for column in read_texts(files):
        taken = column.gather_every(every, -passed % every) if column.len() > -passed % every else column.clear()
        passed += column.len()
        if taken.len():
            yield taken


def _vectors(lines: Path, ids: "np.ndarray") -> "np.ndarray":
    """Unit vectors float32 [len(ids), DIMENSIONS], learned on lines of ids."""
    import fasttext
    import numpy as np

    # fastText counts line ends as a token of this name.
    words = [*map(str, ids.tolist()), "</s>"]
    most = 1 / DIMENSIONS
    start = np.random.default_rng(SEED).uniform(-most, most, (len(words), DIMENSIONS)).astype(np.float32)
    begun = lines.with_suffix(".vec")
    with open(begun, "w", encoding="ascii") as out:
        out.write(f"{len(words)} {DIMENSIONS}\n")
        for word, row in zip(words, start.tolist(), strict=True):
            out.write(f"{word} {' '.join(f'{value:.7g}' for value in row)}\n")
    keys = {"model": "skipgram", "dim": DIMENSIONS, "epoch": EPOCHS, "minCount": MIN_COUNT}
    model = fasttext.train_unsupervised(
        str(lines), minn=0, maxn=0, bucket=0, thread=1, verbose=0, pretrainedVectors=str(begun), **keys
    )
    vectors = np.stack([model.get_word_vector(word) for word in words[:-1]])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(vectors).all() or not lengths.all():
        raise ValueError("--text: fastText's training ended in NaN, so no token can be compared. Give it more text.")
    return vectors / lengths
