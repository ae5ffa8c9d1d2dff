"""Bits per byte on held-out documents: the one measure that compares models with different tokenizers.

    bits per byte = sum over documents of -log2 p(token | the tokens before it in its window) / UTF-8 bytes predicted

A document is [BOS] + its ids, cut into windows of L predicted tokens without overlap; nothing is carried from one
window to the next. EOS is not predicted. Where the tokenizer has no BOS the first token has nothing before it: it is
not predicted and its bytes are not counted.

The result does not depend on the number of ranks, to the last bit: batches are formed once over all windows (sorted
by length, each cut to its longest row, which saves two thirds of the work on short documents), a rank computes whole
batches, and the sums of all windows are added in one order. torch is not imported here; the model comes in as a
callable.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tokenization.encode import Encoder
from tokenization.encode import load as load_tokenizer

POOLS = {"domain": "domain", "general": "replay"}
"""Name in metrics -> pool on disk."""
IGNORED = -100
"""Label of a position that is not predicted."""

Nll = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(inputs [n, l], positions [n, l], labels [n, l]) -> negative log-likelihood in nats, summed per window [n]."""


@dataclass(frozen=True)
class Windows:
    """Held-out documents as rows of at most L predicted tokens, longest rows first; padding stands at the end."""

    inputs: np.ndarray
    """[N, L] int64, 0 in the padding."""
    labels: np.ndarray
    """[N, L] int64, the inputs shifted by one, -100 in the padding."""
    positions: np.ndarray
    """[N, L] int64, 0..L-1 in every row: a row is one segment of attention."""
    lengths: np.ndarray
    """[N] int64, predicted tokens."""
    document: np.ndarray
    """[N] int64, the row of `documents` a window belongs to."""
    pool: np.ndarray
    """[N] int64, index into `pools`."""
    pools: tuple[str, ...]
    """Names of the pools as metrics use them."""
    documents: pl.DataFrame
    """id, pool (as metrics name it), source, bytes (UTF-8 bytes predicted), tokens (predicted), a row a document."""

    @property
    def bytes(self) -> dict[str, int]:
        """UTF-8 bytes predicted per pool."""
        return {pool: int(self.documents.filter(pl.col("pool") == pool)["bytes"].sum()) for pool in self.pools}


def read(run: Path, documents: int | None = None, characters: int = 0) -> pl.DataFrame:
    """Held-out documents of a run: id, text, pool (as metrics name it), source.

    `documents` takes the first so many of each pool in order of a hash of the id, the same ones every time and from
    all sources alike; None takes all. `characters` takes so many from the beginning of each; 0 takes them whole.
    Raises ValueError where a pool has none.
    """
    held_out = pl.concat([_read_pool(run, name, documents) for name in POOLS])
    return held_out.with_columns(pl.col("text").str.head(characters)) if characters else held_out


def build(held_out: pl.DataFrame, tokenizer: Path, seq_len: int) -> Windows:
    """Windows of `seq_len` predicted tokens over the documents that `read` gave, for the tokenizer in a folder."""
    ids, first_bytes = _encode(held_out["text"], tokenizer)
    spans = [
        (row, start, min(start + seq_len, len(tokens) - 1))
        for row, tokens in enumerate(ids)
        for start in range(0, len(tokens) - 1, seq_len)
    ]
    spans.sort(key=lambda span: (span[1] - span[2], span[0], span[1]))
    inputs = np.zeros((len(spans), seq_len), np.int64)
    labels = np.full((len(spans), seq_len), IGNORED, np.int64)
    for at, (row, start, end) in enumerate(spans):
        inputs[at, : end - start] = ids[row][start:end]
        labels[at, : end - start] = ids[row][start + 1 : end + 1]
    predicted = np.array([max(0, len(tokens) - 1) for tokens in ids], np.int64)
    sizes = held_out["text"].str.len_bytes().to_numpy().astype(np.int64) - first_bytes
    document = np.array([row for row, _, _ in spans], np.int64)
    pools = tuple(POOLS)
    pool = np.array([pools.index(name) for name in held_out["pool"]], np.int64)
    return Windows(
        inputs=inputs,
        labels=labels,
        positions=np.broadcast_to(np.arange(seq_len, dtype=np.int64), inputs.shape),
        lengths=np.array([end - start for _, start, end in spans], np.int64),
        document=document,
        pool=pool[document],
        pools=pools,
        documents=held_out.select("id", "pool", "source").with_columns(
            pl.Series("bytes", np.where(predicted > 0, sizes, 0)), pl.Series("tokens", predicted)
        ),
    )


def load(run: Path, tokenizer: Path, seq_len: int, documents: int | None = None, characters: int = 0) -> Windows:
    """`read` and `build` in one: the windows of a run's held-out documents."""
    return build(read(run, documents, characters), tokenizer, seq_len)


def window_nats(
    windows: Windows,
    nll: Nll,
    batch: int = 8,
    rank: int = 0,
    world: int = 1,
    add_up: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Negative log-likelihood in nats of every window [N] float64, computed by `world` ranks together.

    A rank calls `nll` on the batches rank, rank + world, ...; every rank calls it equally often (a rank without work
    repeats the last batch), so a sharded model's collectives line up. `add_up` sums an array [N] float64 over the
    ranks, exactly since each entry is non-zero on one rank only; it is needed where world > 1.
    """
    assert world == 1 or add_up is not None, "ranks must add up what each computed"
    sums = np.zeros(len(windows.lengths))
    slices = list(_batches(windows, batch))
    for turn in range(math.ceil(len(slices) / world)):
        mine = turn * world + rank
        rows, width = slices[min(mine, len(slices) - 1)]
        got = np.asarray(
            nll(
                np.ascontiguousarray(windows.inputs[rows, :width]),
                np.ascontiguousarray(windows.positions[rows, :width]),
                np.ascontiguousarray(windows.labels[rows, :width]),
            ),
            dtype=np.float64,
        )
        if mine < len(slices):
            sums[rows] = got
    return sums if add_up is None else np.asarray(add_up(sums))


def document_bits(windows: Windows, nats: np.ndarray) -> np.ndarray:
    """Bits per document [D] from the nats per window [N]. Raises ValueError where the model's answer is not finite."""
    bits = np.bincount(windows.document, weights=nats, minlength=windows.documents.height) / math.log(2)
    if not np.isfinite(bits).all():
        worst = windows.documents["id"][int(np.flatnonzero(~np.isfinite(bits))[0])]
        raise ValueError(
            f"held-out document {worst}: its log-likelihood is not a finite number, so the model's weights have "
            "diverged. Train again with a lower train.peak_lr, or evaluate an earlier checkpoint."
        )
    return bits


def bits_per_byte(
    windows: Windows,
    nll: Nll,
    batch: int = 8,
    rank: int = 0,
    world: int = 1,
    add_up: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, float]:
    """`domain_bits_per_byte` and `general_bits_per_byte`, the same on every rank. See `window_nats` for the rest."""
    bits = document_bits(windows, window_nats(windows, nll, batch, rank, world, add_up))
    names, sizes = windows.documents["pool"].to_numpy(), windows.documents["bytes"].to_numpy()
    return {
        f"{pool}_bits_per_byte": float(bits[names == pool].sum() / sizes[names == pool].sum()) for pool in windows.pools
    }


def _batches(windows: Windows, batch: int) -> Iterator[tuple[slice, int]]:
    """Rows of each batch and the length of its longest row."""
    for start in range(0, len(windows.lengths), batch):
        yield slice(start, start + batch), int(windows.lengths[start])


def _read_pool(run: Path, name: str, documents: int | None) -> pl.DataFrame:
    folder = run / "held_out" / POOLS[name]
    files = sorted(folder.glob("*/*.parquet"))
    found = pl.concat([pl.scan_parquet(file).select("id", "source") for file in files]).collect() if files else None
    if found is None or found.is_empty():
        raise ValueError(
            f"{folder}: there are no held-out documents of the {POOLS[name]} pool, so bits per byte cannot be "
            "measured. Set eval.held_out above 0 (e.g. 0.02; more where the pool is small) and run curate.run again."
        )
    order = sorted(found["id"], key=lambda id: (hashlib.blake2b(id.encode(), digest_size=8).digest(), id))
    chosen = pl.DataFrame({"id": order[:documents]}, schema={"id": pl.String})
    all_texts = pl.concat([pl.scan_parquet(file).select("id", "text", "source") for file in files])
    texts = all_texts.join(chosen.lazy(), on="id", how="semi").collect()
    return chosen.join(texts, on="id", how="left", maintain_order="left").select(
        "id", "text", pl.lit(name).alias("pool"), "source"
    )


def _encode(texts: pl.Series, folder: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Ids of each document, BOS in front where there is one, and the bytes [D] of a first token not predicted."""
    encoder = Encoder(folder)
    encoded = encoder.encode(texts)
    ends = np.cumsum(encoded.lengths)
    eos = 0 if encoder.eos is None else 1
    ids = [encoded.ids[end - length : end - eos] for end, length in zip(ends, encoded.lengths, strict=True)]
    if encoder.bos is not None:
        return ids, np.zeros(len(texts), np.int64)
    slow = load_tokenizer(folder).encode_batch(texts.to_list(), add_special_tokens=False)
    ends_of_first = [one.offsets[0][1] if one.ids else 0 for one in slow]
    first = [len(text[:end].encode()) for text, end in zip(texts, ends_of_first, strict=True)]
    return ids, np.array(first, np.int64)
