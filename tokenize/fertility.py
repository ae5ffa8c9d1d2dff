"""OOV analysis: how a tokenizer cuts up the text of each source, and whether new tokens are worth their rows.

    python -m tokenization.fertility [RUN]
    python -m tokenization.fertility --tokenizer DIR --text 'notes/*.jsonl.gz'

Fertility is tokens per word, a word being what stands between white space (Rust et al. 2021, arXiv 2012.15613). A term
is a word without the punctuation around it that holds a letter; it is heavily split where it takes HEAVY tokens or
more. Works on counted chunks (see counting.py): its time grows with the different words, not with the text.
"""

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    import numpy as np

    from tokenization.counting import Counts
    from tokenization.cutting import CutText
    from tokenization.pretokens import Pretokens

HEAVY = 4
"""Tokens from which a term counts as heavily split."""
LONGEST = 10
"""Terms of more tokens are counted together in the distribution."""
MOST_SPLIT = 50
"""Terms listed."""
ADDED = ("documents", "bytes", "characters", "words", "tokens", "partial")
"""What is counted of each source and added up for a pool."""
WISHED_DOMAIN_TOKENS = 10_000_000_000
"""Domain tokens at which new rows are learned well; the key min_domain_tokens is the least, a tenth of it."""


FERTILITY = "measure: fertility, Rust et al. 2021, arXiv 2012.15613"
CONTINUED = "measure: continued words, Rust et al. 2021, arXiv 2012.15613"
ROWS = "measure: training tokens, Dagan et al. 2024, arXiv 2402.01035, who change tokenizers from 50B on"
"""Where each rule's measure is from."""


def analyse(
    pretokens: "Pretokens", pools: "Mapping[str, Mapping[str, Counts]]", text: "CutText | None" = None
) -> dict[str, Any]:
    """Figures of each pool and source, and the most split terms of each pool. JSON types only.

    `text` is the pools' text cut by this tokenizer or the one it extends, where that is at hand.
    {"vocabulary": n, "pools": {pool: {...figures, "most_split": [...], "sources": {source: figures}}}}
    """
    from tokenization.cutting import CutText

    cut = Cuts(pretokens, text or CutText(pretokens, pools))
    return {
        "vocabulary": max(pretokens.names) + 1,
        "pools": {pool: _pool_figures(cut, pool, sources) for pool, sources in pools.items()},
    }


class Cuts:
    """How many tokens a tokenizer makes of each chunk and term of a text."""

    def __init__(self, pretokens: "Pretokens", text: "CutText") -> None:
        import numpy as np

        self.pretokens, self.text = pretokens, text
        tokens = pretokens.tokens_of(text.pretokens)
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        every = np.fromiter(chain.from_iterable(tokens), np.int64, lengths.sum())
        partial = np.zeros(max(pretokens.names) + 1, np.int64)
        partial[list(partial_characters(pretokens))] = 1
        before = np.concatenate([[0], np.cumsum(partial[every])])
        ends = np.cumsum(lengths)
        self.tokens, self.term_tokens = text.sums(lengths)
        """Tokens of each chunk [chunks] and of each term inside running text [terms]."""
        self.partial, _ = text.sums(before[ends] - before[ends - lengths])
        """Tokens of each chunk that are a part of a character [chunks]."""


def _pool_figures(cut: Cuts, pool: str, sources: "Mapping[str, Counts]") -> dict[str, Any]:
    import numpy as np

    terms = {source: cut.text.term_times(cut.text.times[pool][source]) for source in sources}
    tallies = {
        source: _tally(cut, counts, cut.text.times[pool][source], terms[source]) for source, counts in sources.items()
    }
    every = sum(terms.values(), np.zeros(len(cut.text.terms), np.int64))
    return {
        **figures(list(tallies.values())),
        "most_split": most_split(cut, every),
        "sources": {source: figures([tally]) for source, tally in tallies.items()},
    }


def figures(tallies: list[dict[str, Any]]) -> dict[str, Any]:
    """Fertility and its relatives of tallied sources together; a ratio is 0 where there is nothing to divide by."""
    total = {key: sum(tally[key] for tally in tallies) for key in ADDED}
    lengths = [sum(tally["lengths"][length] for tally in tallies) for length in range(LONGEST + 1)]
    return {
        "documents": total["documents"],
        "bytes": total["bytes"],
        "words": total["words"],
        "tokens": total["tokens"],
        "fertility": ratio(total["tokens"], total["words"]),
        "characters_per_token": ratio(total["characters"], total["tokens"]),
        "bytes_per_token": ratio(total["bytes"], total["tokens"]),
        "heavily_split": ratio(sum(lengths[HEAVY:]), sum(lengths)),
        "byte_fallback": ratio(total["partial"], total["tokens"]),
        "terms_by_tokens": {str(length): times for length, times in enumerate(lengths) if length},
    }


def _tally(cut: Cuts, counts: "Counts", times: "np.ndarray", term_times: "np.ndarray") -> dict[str, Any]:
    """What is counted of one source: the keys of ADDED, and `lengths`, the number of terms of 0, 1, 2, ... tokens."""
    import numpy as np

    # Sums of float64 are exact below 2**53.
    lengths = np.bincount(np.minimum(cut.term_tokens, LONGEST), term_times, LONGEST + 1)
    return {
        "documents": counts.documents,
        "bytes": counts.bytes,
        "characters": counts.characters,
        "tokens": int(cut.tokens @ times),
        "partial": int(cut.partial @ times),
        "words": int(cut.text.words @ times),
        "lengths": [int(times) for times in lengths],
    }


def most_split(cut: Cuts, times: "np.ndarray") -> list[dict[str, Any]]:
    """The heavily split terms that cost most: by the tokens saved if each were one token, ties by the term.

    `times` says how often each term of the text stands in it [terms].
    """
    import polars as pl

    counted = pl.DataFrame({"term": cut.text.terms, "count": times, "tokens": cut.term_tokens})
    heavy = counted.filter((pl.col("tokens") >= HEAVY) & (pl.col("count") > 0))
    saved = (pl.col("tokens") - 1) * pl.col("count")
    found = heavy.with_columns(saved=saved).sort("saved", "term", descending=[True, False]).head(MOST_SPLIT)
    encode, readable = cut.pretokens.encode, cut.pretokens.readable
    return [
        {"term": term, "count": count, "tokens": tokens, "pieces": readable(encode(f" {term}"))}
        for term, count, tokens in found.select("term", "count", "tokens").iter_rows()
    ]


def partial_characters(pretokens: "Pretokens") -> set[int]:
    """Ids of tokens that stand for a part of a character: byte-fallback pieces, or bytes that are no whole UTF-8."""
    from tokenization.pretokens import is_byte_level, is_byte_piece, token_bytes

    byte_level = is_byte_level(pretokens.description)
    return {
        index
        for index, token in pretokens.names.items()
        if (not _is_utf8(token_bytes(token)) if byte_level else is_byte_piece(token))
    }


def worth_extending(analysis: Mapping[str, Any], config: TokenizerConfig) -> tuple[bool, list[str]]:
    """Whether the published rules speak for new tokens, and a sentence with its source for each rule.

    A rule is a measure from the literature with a threshold of practice, which is a key.
    """
    domain = analysis["pools"]["domain"]
    rules: list[tuple[bool, str]] = []
    if limit := config.min_fertility:
        held = domain["fertility"] > limit
        found = f"{domain['fertility']:.2f} tokens per domain word"
        rules.append(
            (held, f"{found}, {'above' if held else 'not above'} {limit:g} (tokenizer.min_fertility); {FERTILITY}")
        )
    if limit := config.min_heavily_split:
        held = domain["heavily_split"] > limit
        found = f"{domain['heavily_split']:.1%} of domain terms take {HEAVY} tokens or more"
        rules.append(
            (
                held,
                f"{found}, {'above' if held else 'not above'} {limit:.1%} (tokenizer.min_heavily_split); {CONTINUED}",
            )
        )
    if least := config.min_domain_tokens:
        held = domain["tokens"] >= least
        found = f"{domain['tokens']:,} domain tokens to learn new rows from"
        reason = f"{found}, {'at least' if held else 'fewer than'} {least:,} (tokenizer.min_domain_tokens); {ROWS}"
        if held and domain["tokens"] < WISHED_DOMAIN_TOKENS:
            reason += f"; {WISHED_DOMAIN_TOKENS:,} would be better"
        rules.append((held, reason))
    return all(held for held, _ in rules), [reason for _, reason in rules]


def ratio(part: float, whole: float) -> float:
    """part / whole, 0 where the whole is 0."""
    return part / whole if whole else 0.0


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def show(analysis: Mapping[str, Any], title: str) -> None:
    """Print the figures of every source, and the terms that cost most."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("pool", "source", title=title, title_justify="left")
    for name in ("tokens", "per word", "chars", "bytes", "heavy", "fallback"):
        table.add_column(name, justify="right", no_wrap=True)
    for pool, of_pool in analysis["pools"].items():
        for source, row in [*of_pool["sources"].items(), ("all", of_pool)]:
            table.add_row(
                pool,
                source,
                f"{row['tokens']:,}",
                f"{row['fertility']:.3f}",
                f"{row['characters_per_token']:.2f}",
                f"{row['bytes_per_token']:.2f}",
                f"{row['heavily_split']:.2%}",
                f"{row['byte_fallback']:.3%}",
                end_section=source == "all",
            )
    console.print(table)
    print(
        f"per word: fertility; chars, bytes: per token; heavy: terms of {HEAVY} tokens or more; fallback: tokens that"
    )
    print("are a part of a character")
    table = Table("term", "pieces", title="domain terms that cost most tokens", title_justify="left")
    table.add_column("count", justify="right")
    for term in analysis["pools"].get("domain", {}).get("most_split", []):
        table.add_row(Text(term["term"]), Text("·".join(term["pieces"]).lstrip()), f"{term['count']:,}")
    console.print(table)


def main(argv: list[str] | None = None) -> None:
    """Print the analysis of a run's kept documents, or of any text, under any tokenizer."""
    from tokenization.command import counts, parse

    request = parse("tokenization.fertility", __doc__ or "", argv)
    from tokenization.pretokens import Pretokens

    analysis = analyse(Pretokens(request.tokenizer), counts(request))
    show(analysis, str(request.tokenizer))
    worth, reasons = worth_extending(analysis, request.settings)
    print("New tokens are worth it:" if worth else "New tokens are not worth it:")
    print("".join(f"  {reason}\n" for reason in reasons), end="")


if __name__ == "__main__":
    from pipelines import cli

    cli.run(main)
