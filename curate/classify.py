"""Scores how like one reference and unlike another a document is, and drops what is too unlike."""

from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from curate import fasttext_model, likeness
from curate.reference import files, listed, reference
from curate.stage import Stage, Verdicts, detail


class Classify(Stage, name="classify"):
    """Scores documents by a classifier of domain or quality, and drops those below a threshold.

    `by: classifier` trains fastText (Joulin et al. 2016, arXiv 1607.01759) on words and word pairs of two references;
    `by: moore_lewis` takes the difference of two KenLMs' cross-entropies (Moore and Lewis 2010). Documents of the
    references are scored by models that have not seen them. It finds off-domain text (AUC 1.00), and is blind to noise,
    for which there is `perplexity`. 100 MB/s on one core by classifier, 35 by moore_lewis.
    Score: `classifier` (probability of the positive reference, 0 to 1) or `moore_lewis` (bits a word, above 0 for what
    is more like the positive one). Reason: unlike_reference; detail: the score and the threshold. A document without a
    known word has no score and stays.
    """

    by: likeness.By = "classifier"
    """What scores: classifier or moore_lewis."""
    positive: str | list[str] = "domain"
    """What documents should be like: pools (domain, replay), sources by name, files by a path or glob; one or more."""
    negative: str | list[str] = "replay"
    """What they should not be like, named in the same way."""
    min_score: dict[str, float] = {}
    """Scores below which documents go, by pool or source: {domain: 0.5}; a source's own value comes before its pool's.
    Empty, the default, drops nothing."""
    reference_bytes: int = Field(20_000_000, ge=1)
    """Bytes of text of either reference that each of the two models is trained on, at most, taken evenly over it."""
    model: str = ""
    """A trained fastText classifier to use instead, given the text as it is with line ends as spaces; empty trains one
    on the references."""
    label_name: str = "positive"
    """Label of `model` whose probability is the score, with or without `__label__`."""

    def inputs(self) -> list[str]:
        where = self.workspace.where
        if self.model:
            if self.by != "classifier":
                raise ValueError(f"{where}.model: a fastText file cannot score by: {self.by}. Leave one of them out.")
            fasttext_model.check_file(self.model, self.label_name, where)
            return [self.model]
        return files([*listed(self.positive), *listed(self.negative)], f"{where}.positive or .negative")

    def warm_up(self) -> None:
        likeness.warm_up(self.by)

    def prepare(self) -> None:
        known = {name for part in self.workspace.parts for name in (part.pool, part.source)}
        if unknown := sorted(set(self.min_score) - known):
            raise ValueError(
                f"{self.workspace.where}.min_score: there is no pool or source {', '.join(unknown)}, so the threshold "
                f"would never apply. Known: {', '.join(sorted(known))}."
            )
        if not self.model:
            positive = reference(self.positive, "positive", self.workspace)
            negative = reference(self.negative, "negative", self.workspace)
            likeness.train(self.by, positive, negative, self.reference_bytes, self.workspace.folder)

    def judge(self, documents: pl.DataFrame) -> Verdicts:
        score = self._scores(documents)
        reasons: list[str | None] = [None] * documents.height
        details: list[str | None] = [None] * documents.height
        limit = self._limit(documents)
        if limit is not None:
            for row in (score < limit).fill_null(False).arg_true().to_list():
                reasons[row] = "unlike_reference"
                evidence: dict[str, Any] = {self.by: round(score[row], 4), "threshold": limit}
                details[row] = detail(**evidence)
        scores: dict[str, pl.Series] = {self.by: score.cast(pl.Float32)}
        return Verdicts(pl.Series("reason", reasons, pl.String), pl.Series("detail", details, pl.String), scores)

    def _scores(self, documents: pl.DataFrame) -> pl.Series:
        if not self.model:
            return likeness.scores(self.by, self.workspace.folder, documents)
        label = fasttext_model.whole_label(self.label_name)
        found = fasttext_model.file_probabilities(self.model, label, documents["text"])
        return pl.Series(np.asarray(found, np.float64), nan_to_null=True)

    def _limit(self, documents: pl.DataFrame) -> float | None:
        """The threshold for these documents, which are all of one source."""
        if not documents.height:
            return None
        source, pool = documents["source"][0], documents["pool"][0]
        return self.min_score.get(source, self.min_score.get(pool))
