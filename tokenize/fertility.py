"""OOV analysis: how a tokenizer cuts up the text of each source, and whether new tokens are worth their rows.

    python -m tokenization.fertility [RUN]
    python -m tokenization.fertility --tokenizer DIR --text 'notes/*.jsonl.gz'

Fertility is tokens per word, a word being what stands between white space (Rust et al. 2021, arXiv 2012.15613). A term
is a word without the punctuation around it that holds a letter; it is heavily split where it takes HEAVY tokens or
more. Works on counted chunks (see counting.py), so its time depends on the different words, not on the size of the text.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    from tokenization.counting import Counts
    from tokenization.pretokens import Pretokens

HEAVY = 4
"""Tokens from which a term counts as heavily split."""
LONGEST = 10
"""Terms of more tokens are counted together in the distribution."""
MOST_SPLIT = 50
"""Terms listed."""
WISHED_DOMAIN_TOKENS = 10_000_000_000
"""Domain tokens at which new rows are learned well; the key min_domain_tokens is the least, a tenth of it."""


def analyse(pretokens: "Pretokens", pools: "Mapping[str, Mapping[str, Counts]]") -> dict[str, Any]:
    """Figures of each pool and source, and the most split terms of each pool. JSON types only.

    {"vocabulary": n, "pools": {pool: {...figures, "most_split": [...], "sources": {source: figures}}}}
    """
    from tokenization.counting import together

    return {
        "vocabulary": max(pretokens.names) + 1,
        "pools": {
            pool: {
                **figures(pretokens, together(sources.values())),
                "most_split": most_split(pretokens, terms(together(sources.values()).chunks)),
                "sources": {source: figures(pretokens, counts) for source, counts in sources.items()},
            }
            for pool, sources in pools.items()
        },
    }


def figures(pretokens: "Pretokens", counts: "Counts") -> dict[str, Any]:
    """Fertility and its relatives for one counted text; a ratio is 0 where there is nothing to divide by."""
    partial = partial_characters(pretokens)
    words = tokens = in_parts = 0
    for chunk, times in zip(counts.chunks["chunk"].to_list(), counts.chunks["count"].to_list(), strict=True):
        encoded = pretokens.encode(chunk)
        words += times * len(chunk.split())
        tokens += times * len(encoded)
        in_parts += times * sum(token in partial for token in encoded)
    lengths = [0] * (LONGEST + 1)
    for term, times in terms(counts.chunks).items():
        lengths[min(len(pretokens.encode(f" {term}")), LONGEST)] += times
    return {
        "documents": counts.documents,
        "bytes": counts.bytes,
        "words": words,
        "tokens": tokens,
        "fertility": ratio(tokens, words),
        "characters_per_token": ratio(counts.characters, tokens),
        "bytes_per_token": ratio(counts.bytes, tokens),
        "heavily_split": ratio(sum(lengths[HEAVY:]), sum(lengths)),
        "byte_fallback": ratio(in_parts, tokens),
        "terms_by_tokens": {str(length): times for length, times in enumerate(lengths) if length},
    }


def terms(chunks: Any) -> dict[str, int]:
    """Terms and their counts from counted chunks: words without surrounding punctuation that hold a letter."""
    import polars as pl

    words = (
        chunks.lazy()
        .select(pl.col("chunk").str.extract_all(r"\S+"), pl.col("count"))
        .explode("chunk")
        .with_columns(term=pl.col("chunk").str.replace_all(r"^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$", ""))
        .filter(pl.col("term").str.contains(r"\p{L}"))
        .group_by("term")
        .agg(pl.col("count").sum())
        .sort("term")
        .collect()
    )
    return dict(zip(words["term"].to_list(), words["count"].to_list(), strict=True))


def most_split(pretokens: "Pretokens", counted: Mapping[str, int]) -> list[dict[str, Any]]:
    """The heavily split terms that cost most: by the tokens saved if each were one token, ties by the term."""
    found: list[tuple[int, str]] = []
    for term, times in counted.items():
        length = len(pretokens.encode(f" {term}"))
        if length >= HEAVY:
            found.append((-times * (length - 1), term))
    return [
        {
            "term": term,
            "count": counted[term],
            "tokens": len(pretokens.encode(f" {term}")),
            "pieces": pretokens.readable(pretokens.encode(f" {term}")),
        }
        for _, term in sorted(found)[:MOST_SPLIT]
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
    """Whether the published rules speak for new tokens, and a sentence for each rule."""
    domain = analysis["pools"]["domain"]
    rules: list[tuple[bool, str]] = []
    if config.min_fertility:
        rules.append(
            _rule(
                domain["fertility"] > config.min_fertility,
                f"{domain['fertility']:.2f} tokens per domain word",
                f"{config.min_fertility:g}",
                "min_fertility",
            )
        )
    if config.min_heavily_split:
        rules.append(
            _rule(
                domain["heavily_split"] > config.min_heavily_split,
                f"{domain['heavily_split']:.1%} of domain terms take {HEAVY} tokens or more",
                f"{config.min_heavily_split:.1%}",
                "min_heavily_split",
            )
        )
    if config.min_domain_tokens:
        enough = domain["tokens"] >= config.min_domain_tokens
        found, reason = _rule(
            enough,
            f"{domain['tokens']:,} domain tokens to learn new rows from",
            f"{config.min_domain_tokens:,}",
            "min_domain_tokens",
        )
        if enough and domain["tokens"] < WISHED_DOMAIN_TOKENS:
            reason += f"; {WISHED_DOMAIN_TOKENS:,} would be better"
        rules.append((found, reason))
    return all(held for held, _ in rules), [reason for _, reason in rules]


def ratio(part: float, whole: float) -> float:
    """part / whole, 0 where the whole is 0."""
    return part / whole if whole else 0.0


def _rule(held: bool, found: str, threshold: str, key: str) -> tuple[bool, str]:
    return held, f"{found}: {'above' if held else 'not above'} {threshold} (tokenizer.{key})"


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

    console = Console()
    table = Table("pool", "source", title=title, title_justify="left")
    for name in ("tokens", "tokens/word", "chars/token", "bytes/token", "heavily split", "byte fallback"):
        table.add_column(name, justify="right")
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
    table = Table(
        "term", "pieces", title="most split terms of the domain, by the tokens they cost", title_justify="left"
    )
    table.add_column("count", justify="right")
    for term in analysis["pools"].get("domain", {}).get("most_split", []):
        table.add_row(term["term"], " ".join(term["pieces"]), f"{term['count']:,}")
    console.print(table, markup=False)


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
