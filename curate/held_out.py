"""Sets documents aside for evaluation."""

import hashlib
from collections.abc import Iterable, Iterator

import polars as pl
from pydantic import Field

from curate.documents import write_documents
from curate.parts import Batch, record
from curate.stage import Stage, Verdicts


class HeldOut(Stage, name="held_out"):
    """Sets a share of the documents aside, by the hash of their text; always the last stage.

    They are written to held_out/ instead of documents/ and are never packed, so what is measured on them was never
    trained on. The choice does not depend on order, source or seed: the same text is set aside in every crawl.
    Reason: held_out.
    """

    share: float = Field(0.02, gt=0, lt=1)
    """Share of documents; the pipeline's eval.held_out sets it."""

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        limit = int(self.share * 2**64)
        chosen = [_hash(text) < limit for text in documents["text"]]
        reason = pl.Series("reason", ["held_out" if aside else None for aside in chosen], pl.String)
        return Verdicts(reason, pl.Series("detail", ["{}" if aside else None for aside in chosen], pl.String))

    def run(self, data: Iterable[Batch] | None, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:  # type: ignore[override]
        """Also keeps the documents set aside, whole, for held_out/."""
        assert data is not None
        for batch in data:
            with self.track_time():
                verdicts = self.judge(batch.documents)
                aside = Batch(batch.part, batch.documents.filter(verdicts.reason.is_not_null()))
                write_documents(self.workspace.folder / "documents" / f"{batch.part.key}.parquet", aside)
                batch = record(self.workspace.folder, batch, verdicts)
            yield batch


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
