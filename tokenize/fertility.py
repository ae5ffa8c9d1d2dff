"""OOV analysis: how a tokenizer cuts up the text of each source, and whether new tokens are worth their rows.

    python -m tokenization.fertility [RUN]
    python -m tokenization.fertility --tokenizer DIR --text 'notes/*.jsonl.gz'

Fertility is tokens per word, a word being what stands between white space (Rust et al. 2021, arXiv 2012.15613). A term
is a word without the punctuation around it that holds a letter; it is heavily split where it takes HEAVY tokens or
more. Works on counted chunks (see counting.py): its time grows with the different words, not with the text.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    import polars as pl

    from tokenization.counting import Counts
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


def analyse(pretokens: "Pretokens", pools: "Mapping[str, Mapping[str, Counts]]") -> dict[str, Any]:
    """Figures of each pool and source, and the most split terms of each pool. JSON types only.

    {"vocabulary": n, "pools": {pool: {...figures, "most_split": [...], "sources": {source: figures}}}}
    """
    cuts = Cuts(pretokens)
    return {
        "vocabulary": max(pretokens.names) + 1,
        "pools": {pool: _pool_figures(cuts, sources) for pool, sources in pools.items()},
    }


class Cuts:
    """How a tokenizer cuts chunks and terms; each string is cut once, however many sources hold it."""

    def __init__(self, pretokens: "Pretokens") -> None:
        self.pretokens = pretokens
        self._partial = partial_characters(pretokens)
        self._seen: dict[str, tuple[int, int]] = {}
        self._lengths: dict[str, tuple[int, int]] = {}

    def of(self, strings: "pl.Series") -> "pl.DataFrame":
        """`tokens` and `partial` (tokens that are a part of a character), a row for each of `strings`."""
        import polars as pl

        rows = [self._seen.get(string) or self._cut(string) for string in strings.to_list()]
        return pl.DataFrame(rows, schema={"tokens": pl.Int64, "partial": pl.Int64}, orient="row")

    def _cut(self, string: str) -> tuple[int, int]:
        tokens = partial = 0
        for pretoken in self.pretokens.split(string):
            found = self._lengths.get(pretoken) or self._length(pretoken)
            tokens += found[0]
            partial += found[1]
        self._seen[string] = tokens, partial
        return tokens, partial

    def _length(self, pretoken: str) -> tuple[int, int]:
        tokens = self.pretokens.tokens(pretoken)
        found = self._lengths[pretoken] = len(tokens), sum(token in self._partial for token in tokens)
        return found


def _pool_figures(cuts: Cuts, sources: "Mapping[str, Counts]") -> dict[str, Any]:
    import polars as pl

    terms_of = {source: terms(counts.chunks) for source, counts in sources.items()}
    tallies = {source: _tally(cuts, counts, terms_of[source]) for source, counts in sources.items()}
    every = pl.concat([*terms_of.values(), terms(_nothing())]).group_by("term").agg(pl.col("count").sum())
    return {
        **figures(list(tallies.values())),
        "most_split": most_split(cuts, every.sort("term")),
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


def _tally(cuts: Cuts, counts: "Counts", counted_terms: "pl.DataFrame") -> dict[str, Any]:
    """What is counted of one source: the keys of ADDED, and `lengths`, the number of terms of 0, 1, 2, ... tokens."""
    import polars as pl

    chunks = counts.chunks.with_columns(cuts.of(counts.chunks["chunk"]))
    words = pl.col("chunk").str.count_matches(r"\S+").cast(pl.Int64)
    sums = chunks.select(
        (pl.col(name) if isinstance(name, str) else name).dot(pl.col("count").cast(pl.Int64)).alias(key)
        for key, name in (("tokens", "tokens"), ("partial", "partial"), ("words", words))
    ).row(0, named=True)
    lengths = [0] * (LONGEST + 1)
    found = counted_terms.with_columns(cuts.of(" " + counted_terms["term"]))
    for length, times in found.group_by("tokens").agg(pl.col("count").sum()).iter_rows():
        lengths[min(length, LONGEST)] += times
    size = {"documents": counts.documents, "bytes": counts.bytes, "characters": counts.characters}
    return {**size, **{key: value or 0 for key, value in sums.items()}, "lengths": lengths}


def terms(chunks: "pl.DataFrame") -> "pl.DataFrame":
    """`term` and `count` from counted chunks: words without surrounding punctuation that hold a letter, sorted."""
    import polars as pl

    return (
        chunks.lazy()
        .select(pl.col("chunk").str.extract_all(r"\S+"), pl.col("count"))
        .explode("chunk")
        .select(term=pl.col("chunk").str.replace_all(r"^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$", ""), count=pl.col("count"))
        .filter(pl.col("term").str.contains(r"\p{L}"))
        .group_by("term")
        .agg(pl.col("count").sum())
        .sort("term")
        .collect()
    )


def most_split(cuts: Cuts, counted: "pl.DataFrame") -> list[dict[str, Any]]:
    """The heavily split terms that cost most: by the tokens saved if each were one token, ties by the term."""
    import polars as pl

    saved = (pl.col("tokens") - 1) * pl.col("count").cast(pl.Int64)
    heavy = counted.with_columns(cuts.of(" " + counted["term"])).filter(pl.col("tokens") >= HEAVY)
    found = heavy.with_columns(saved=saved).sort("saved", "term", descending=[True, False]).head(MOST_SPLIT)
    encode, readable = cuts.pretokens.encode, cuts.pretokens.readable
    return [
        {"term": term, "count": count, "tokens": tokens, "pieces": readable(encode(f" {term}"))}
        for term, count, tokens in found.select("term", "count", "tokens").iter_rows()
    ]


def _nothing() -> "pl.DataFrame":
    from tokenization.counting import count

    return count([]).chunks


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
    if limit := config.min_fertility:
        held = domain["fertility"] > limit
        found = f"{domain['fertility']:.2f} tokens per domain word"
        rules.append((held, f"{found}, {'above' if held else 'not above'} {limit:g} (tokenizer.min_fertility)"))
    if limit := config.min_heavily_split:
        held = domain["heavily_split"] > limit
        found = f"{domain['heavily_split']:.1%} of domain terms take {HEAVY} tokens or more"
        rules.append((held, f"{found}, {'above' if held else 'not above'} {limit:.1%} (tokenizer.min_heavily_split)"))
    if least := config.min_domain_tokens:
        held = domain["tokens"] >= least
        found = f"{domain['tokens']:,} domain tokens to learn new rows from"
        reason = f"{found}, {'at least' if held else 'fewer than'} {least:,} (tokenizer.min_domain_tokens)"
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
