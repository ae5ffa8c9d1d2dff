"""Drops the documents that a language model of the domain finds least likely: noise, broken OCR, shuffled words."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from curate import kenlm_model
from curate.reference import FOLDS, crossed, files, reference
from curate.stage import Stage, Verdicts, detail

Percentile = float | dict[str, float]


class Perplexity(Stage, name="perplexity"):
    """Drops each source's documents above a percentile of perplexity under a KenLM of the reference.

    The reference is cut into two halves by document; a document of it is scored by the model of the other half, so no
    model has seen what it scores. Documents are compared with those of their own source only: a global threshold that
    costs one source 4 % can cost another 71 %. Also judged, where asked for: the worst segment of a document, which
    sees what the average hides, boilerplate or another language inside a good text.
    Finds noise (AUC within a source .98 for 5 % wrong letters, 1.00 for shuffled words; 98 % of real OCR pages score
    above their corrected text, but pages differ more than that, AUC .58) and text of another domain (1.00). Of
    documents with 12 % boilerplate or foreign prose inside, the average sees little (.61) and the worst segment much
    (.89); not in long articles, whose tables and reference lists are worse than boilerplate, and not boilerplate that
    the reference repeats, which the model then knows. 50 MB/s on one core, tests/benchmarks/perplexity.py. Heafield
    2011; CCNet (Wenzek et al. 2019, arXiv 1911.00359).
    `model` may also name a folder of a causal language model; the scores then are bits per byte, hundreds of times as
    slowly.
    Scores: perplexity and perplexity_worst (bits_per_byte and bits_per_byte_worst of a causal model), both higher for
    worse text; perplexity_bucket: 0 head, 1 middle, 2 tail, the thirds of the source's documents from the likeliest on.
    Reasons: high_perplexity; high_perplexity_segment. Detail: the score and the threshold, and where the segment begins
    (`word`, counted as the model counts; `byte` for a causal model).
    """

    version: ClassVar[int] = 2
    is_global: ClassVar[bool] = True

    reference: str | list[str] = "domain"
    """What the models are trained on: pools (domain, replay), sources by name, files by a path or glob; one or a
    list."""
    max_percentile: Percentile = 95.0
    """Percentile of a source's perplexities above which its documents go; one for all, or {source: percentile}, in
    which a source not named keeps all. 100 turns it off."""
    max_worst_percentile: Percentile = 100.0
    """The same for the perplexity of documents' worst segments; 100, the default, turns it off. Segments are bad for
    good reasons too (tables, lists of names), so look at the ledger before a value below 99."""
    segment: int = Field(30, ge=1)
    """Words in a row that are judged together as a segment; a shorter document is one."""
    order: int = Field(5, ge=2, le=6)
    """Words per n-gram."""
    prune: int = Field(1, ge=0)
    """N-grams of three or more words seen at most this often are left out of the models; 0 keeps all. 1 makes models
    five times smaller and finds as much."""
    reference_bytes: int = Field(50_000_000, ge=1)
    """Bytes of text each of the two models is trained on, at most, taken evenly over the reference."""
    model: str = ""
    """A trained model to use instead: a KenLM (ARPA or binary), or the folder of a causal language model for
    transformers; empty trains a KenLM on `reference`."""
    window: int = Field(512, ge=2)
    """Tokens a causal model reads at once, context and scored ones; a KenLM has no use for it."""
    stride: int = Field(256, ge=1)
    """Tokens of a window that are scored, the others are their context; also the segment of a causal model. A smaller
    one gives more context and takes longer."""

    def inputs(self) -> list[str]:
        where = self.workspace.where
        if not self.model:
            return files(self.reference, f"{where}.reference")
        if not Path(self.model).exists():
            raise ValueError(f"{where}.model: {self.model} is not there. Name a model, or leave the key out.")
        if self._is_causal:
            from curate import causal_scorer

            if self.stride >= self.window:
                raise ValueError(f"{where}.stride: {self.stride} is not less than window: {self.window}. Lower it.")
            return causal_scorer.check(self.model, self.window, where)
        return [self.model]

    def warm_up(self) -> None:
        if not self._is_causal:
            kenlm_model.warm_up()

    def prepare(self) -> None:
        self._check_sources()
        if self._is_causal:
            return
        if self.model:
            kenlm_model.check(self.model, f"{self.workspace.where}.model")
            return
        from curate.kenlm_text import normalized_lines

        text = reference(self.reference, "reference", self.workspace)
        share = min(1.0, self.reference_bytes * FOLDS / text.size())

        def train(fold: int) -> None:
            lines = (normalized_lines(some) for some in text.texts(fold, share))
            kenlm_model.train(lines, self.order, self.prune, self._model_of(fold), text.where)

        with ThreadPoolExecutor() as pool:  # each thread waits for its lmplz
            list(pool.map(train, range(FOLDS)))

    def measure(self, documents: pl.DataFrame) -> pl.DataFrame:
        if self._is_causal:
            from curate import causal_scorer

            scores = causal_scorer.scores(self.model, documents["text"], self.window, self.stride)
            some = pl.col("bytes") > 0
            return scores.select(
                score=pl.when(some).then(pl.col("bits") / pl.col("bytes")),
                worst=pl.when(some).then("worst"),
                worst_at="worst_at",
            )
        scores = self._kenlm_scores(documents)
        return scores.select(
            score=kenlm_model.perplexity(pl.col("log10"), pl.col("words")),
            worst=kenlm_model.perplexity(pl.col("worst") * pl.col("words"), pl.col("words")),
            worst_at="worst_at",
        )

    def decide(self, measured: Iterable[pl.DataFrame]) -> Iterator[Verdicts]:
        """Verdicts in global order; the scores of all documents are in memory, 16 bytes a document."""
        thresholds, worst_thresholds, thirds = self._thresholds(measured)
        name, place = ("bits_per_byte", "byte") if self._is_causal else ("perplexity", "word")
        for frame in measured:
            source = frame["source"][0] if frame.height else ""
            limit, worst_limit = thresholds.get(source, np.inf), worst_thresholds.get(source, np.inf)
            reasons: list[str | None] = [None] * frame.height
            details: list[str | None] = [None] * frame.height
            score, worst = frame["score"], frame["worst"]
            for row in ((score > limit) | (worst > worst_limit)).fill_null(False).arg_true().to_list():
                if score[row] > limit:
                    reasons[row] = "high_perplexity"
                    evidence = {name: round(score[row], 3), "threshold": round(limit, 3)}
                else:
                    reasons[row] = "high_perplexity_segment"
                    evidence = {f"{name}_worst": round(worst[row], 3), "threshold": round(worst_limit, 3)}
                    evidence[place] = frame["worst_at"][row]
                details[row] = detail(**evidence)
            low, high = thirds.get(source, (np.inf, np.inf))
            scores = {
                name: score.cast(pl.Float32),
                f"{name}_worst": worst.cast(pl.Float32),
                "perplexity_bucket": (score > low).cast(pl.Float32) + (score > high).cast(pl.Float32),
            }
            yield Verdicts(pl.Series("reason", reasons, pl.String), pl.Series("detail", details, pl.String), scores)

    @property
    def _is_causal(self) -> bool:
        return bool(self.model) and Path(self.model).is_dir()

    def _kenlm_scores(self, documents: pl.DataFrame) -> pl.DataFrame:
        from curate.kenlm_text import normalized_lines

        if self.model:
            return kenlm_model.scores(Path(self.model), normalized_lines(documents["text"]), self.segment)
        return crossed(
            documents,
            lambda fold, texts: kenlm_model.scores(self._model_of(fold), normalized_lines(texts), self.segment),
        )

    def _thresholds(
        self, measured: Iterable[pl.DataFrame]
    ) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
        """By source: the score and the worst segment's score above which a document goes, and the thirds' bounds."""
        values: dict[str, list[pl.DataFrame]] = {}
        for frame in measured:
            if frame.height:
                values.setdefault(frame["source"][0], []).append(frame.select("score", "worst"))
        limits: dict[str, float] = {}
        worst_limits: dict[str, float] = {}
        thirds: dict[str, Any] = {}
        for source, frames in values.items():
            all_of_it = pl.concat(frames)
            if all_of_it["score"].null_count() == all_of_it.height:
                continue
            for column, percentiles, found in (
                ("score", self.max_percentile, limits),
                ("worst", self.max_worst_percentile, worst_limits),
            ):
                percentile = percentiles.get(source, 100) if isinstance(percentiles, dict) else percentiles
                if percentile < 100:
                    found[source] = all_of_it[column].quantile(percentile / 100, "higher")  # type: ignore[assignment]
            thirds[source] = tuple(all_of_it["score"].quantile(third / 3, "lower") for third in (1, 2))
        return limits, worst_limits, thirds

    def _check_sources(self) -> None:
        sources = sorted({part.source for part in self.workspace.parts})
        for key in ("max_percentile", "max_worst_percentile"):
            percentiles = getattr(self, key)
            if isinstance(percentiles, dict) and (unknown := sorted(set(percentiles) - set(sources))):
                raise ValueError(
                    f"{self.workspace.where}.{key}: there is no source {', '.join(unknown)}, so the threshold "
                    f"would never apply. Sources: {', '.join(sources)}."
                )

    def _model_of(self, fold: int) -> Path:
        return self.workspace.folder / f"fold-{fold}.binary"
