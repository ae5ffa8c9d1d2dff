"""Vocabulary extension: the base tokenizer's own merges, continued on domain text.

    python -m tokenization.extend [RUN] --new-tokens 2000
    python -m tokenization.extend --tokenizer DIR --text 'notes/*.jsonl.gz' --general 'web/*.jsonl.gz' --output DIR

Old ids do not move and new ids start above every added token; special tokens, post-processor and chat template stay
as they are. New merges rank behind the base's, so text is first cut exactly as before and then shortened where a new
token fits: no document takes more tokens than it did. `add_tokens` has no such guarantee: it cuts text at the new token
first, which breaks the tokens around it (tests/benchmarks/extend.py has both on the same text).

GPT-2 + 2,000 tokens learned on 50 MB of biomedical text, measured on other documents (394 general ones):

    continued merges                    domain -5.2 %, general -0.1 %, no general document longer, none unreachable
    add_tokens, the same tokens         domain -0.6 %, general +1.5 %, 385 general documents longer
    add_tokens, the costliest words     domain -5.1 %, general +0.2 %, 262 general documents longer
    merges of a scratch BPE appended    domain -2.7 %, general -1.0 %, 721 tokens unreachable

A Unigram tokenizer gets scored pieces instead of merges, with the same promises (unigram.py).
Not worth its rows on little text: a new row is an average at first, and is learned from the places where it is used.
"""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenization import unigram
from tokenization.merges import Limits, NewToken, Word, learn

if TYPE_CHECKING:
    from tokenization.counting import Counts
    from tokenization.cutting import CutText
    from tokenization.pretokens import Pretokens

POOLS = ("domain", "replay")
"""Text that new tokens are learned on, and general text, which they leave alone."""
MIN_COUNT = 20
"""A new token stands at least this often in the domain text when it is learned."""


def extend(
    tokenizer_dir: str | Path,
    domain_texts: Iterable[Any],
    general_texts: Iterable[Any],
    new_tokens: int,
    max_general_share: float,
    output_dir: str | Path,
    min_count: int = MIN_COUNT,
) -> dict[str, Any]:
    """Extend the tokenizer of a folder and write the result, with extension.json, to another.

    Texts are strings, or Polars or Arrow string columns. At most `new_tokens` are added, together covering at most
    `max_general_share` of general tokens. Returns what extension.json holds. Raises ValueError for a tokenizer that
    cannot be extended, by its model type.
    """
    from tokenization.counting import count
    from tokenization.cutting import CutText
    from tokenization.folder import written_whole
    from tokenization.pretokens import Pretokens

    base = Pretokens(tokenizer_dir)
    check_extendable(base, tokenizer_dir)
    pools = {"domain": {"domain": count(domain_texts)}, "replay": {"general": count(general_texts)}}
    text = CutText(base, pools)
    with written_whole(output_dir, ours="extension.json") as folder:
        return extend_counted(base, tokenizer_dir, pools, text, new_tokens, max_general_share, folder, min_count)[0]


def extend_counted(
    base: "Pretokens",
    tokenizer_dir: str | Path,
    pools: "Mapping[str, Mapping[str, Counts]]",
    text: "CutText",
    new_tokens: int,
    max_general_share: float,
    folder: Path,
    min_count: int = MIN_COUNT,
    name: str | None = None,
) -> "tuple[dict[str, Any], Pretokens]":
    """`extend` for the counted pools `domain` and `replay`, into a folder that exists.

    `text` is the pools' text as `base` cuts it; `name` is what extension.json calls the base. Returns what
    extension.json holds, and the extended tokenizer.
    """
    from curate.files import write_json, write_text
    from tokenization.folder import copy_companions
    from tokenization.pretokens import Pretokens, sentencepiece_config, tokenizer_file
    from tokenization.promises import check

    words = _words(base, text)
    before = _totals(words)
    limits = Limits(new_tokens, min_count, before["domain"], before["general"], max_general_share)
    lengths = [len(word.tokens) for word in words.values()]
    learned, skipped, written = _learn(base, words, limits)
    write_text(folder / "tokenizer.json", written)
    file = tokenizer_file(tokenizer_dir)
    copy_companions(file.parent, folder)
    if file.suffix == ".model":
        write_json(folder / "tokenizer_config.json", sentencepiece_config(base.names.values()))
    uses, after = _uses(words, learned), _totals(words)
    new = Pretokens(folder, extends=base)
    samples = [[text for counts in pools.get(pool, {}).values() for text in counts.sample] for pool in POOLS]
    extension = {
        "base": str(name or tokenizer_dir),
        "base_vocab": max(base.names) + 1,
        "new_tokens": [
            {
                "id": one.id,
                "token": one.token,
                "parents": list(one.parents),
                "count": one.count,
                "uses": uses[one.id][0],
            }
            for one in learned
        ],
        "asked": new_tokens,
        "min_count": min_count,
        "skipped_for_general": skipped,
        "tokens_before": before,
        "tokens_after": after,
        "general_share": sum(general for _, general in uses.values()) / max(1, after["general"]),
        "checks": check(base, new, words, lengths, learned, samples[0], samples[1]),
    }
    write_json(folder / "extension.json", extension)
    return extension, new


def _learn(base: "Pretokens", words: dict[str, Word], limits: Limits) -> tuple[list[NewToken], int, str]:
    """New tokens, candidates skipped, and the extended tokenizer.json; `words` are changed to their new tokens."""
    many = {pretoken: word for pretoken, word in words.items() if len(word.tokens) > 1}
    if base.description["model"].get("type") == "Unigram":
        learned, skipped, tokens = unigram.learn_within(many, base.names, unmergeable(base), limits, base)
        for word, after in zip(many.values(), tokens, strict=True):
            word.tokens = after
        return learned, skipped, unigram.extended(base.description, learned)
    learned, skipped = learn(list(many.values()), base.names, unmergeable(base), limits)
    return learned, skipped, extended(base.description, learned)


def check_extendable(base: "Pretokens", where: str | Path) -> None:
    """Raises ValueError naming the model type where merges cannot be continued."""
    from tokenization.pretokens import ALPHABET, is_byte_level, is_byte_piece, marks_words

    model = base.description["model"]
    problem = None
    kind = model.get("type", "BPE")
    if kind == "Unigram":
        if not marks_words(base.description):
            problem = "its model type is Unigram, but it does not write spaces as SentencePiece does"
    elif kind != "BPE":
        problem = f"its model type is {kind}, which has neither merges to continue nor scores to compare"
    elif model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        problem = "its model type is BPE with word-piece affixes (continuing_subword_prefix or end_of_word_suffix)"
    elif model.get("dropout"):
        problem = "its model type is BPE with dropout, which cuts the same text differently each time"
    elif is_byte_level(base.description):
        missing = len(ALPHABET - set(model["vocab"]))
        if missing:
            problem = f"its model type is BPE, but {missing} of the 243 bytes of UTF-8 have no token, so it loses text"
    elif not marks_words(base.description):
        problem = "its model type is BPE, but neither byte-level nor SentencePiece"
    elif not model.get("byte_fallback") or sum(map(is_byte_piece, model["vocab"])) < 256:
        problem = "its model type is SentencePiece BPE without byte fallback, so it loses text"
    if problem:
        raise ValueError(
            f"{where}: the tokenizer cannot be extended: {problem}. Byte-level BPE (GPT-2, NeoX, Llama 3, Qwen), "
            "SentencePiece BPE with byte fallback (Llama 2, Mistral) and SentencePiece Unigram (T5, XLM-R) can; for "
            "others set tokenizer.extend: never."
        )


def unmergeable(base: "Pretokens") -> frozenset[int]:
    """Ids that no merge may touch: added tokens, the unknown token and byte-fallback pieces.

    A byte-fallback piece is written <0x0A>; joined to its neighbour it would be decoded as these six characters.
    """
    from tokenization.pretokens import is_byte_level, is_byte_piece

    ids = {added["id"] for added in base.description.get("added_tokens", [])}
    unknown = base.description["model"].get("unk_token")
    ids |= {index for index, token in base.names.items() if token == unknown}
    if base.description["model"].get("unk_id") is not None:
        ids.add(base.description["model"]["unk_id"])
    if not is_byte_level(base.description):
        ids |= {index for index, token in base.names.items() if is_byte_piece(token)}
    return frozenset(ids)


def extended(description: Mapping[str, Any], learned: Iterable[NewToken]) -> str:
    """The tokenizer.json with the new tokens and their merges, each written as the base writes its own."""
    result = deepcopy(dict(description))
    model = result["model"]
    # tokenizers gives an added token that the model does not hold the next id after the model's, whatever id stands
    # in the file: with new tokens there it would move.
    for added in result.get("added_tokens", []):
        model["vocab"].setdefault(added["content"], added["id"])
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    names = {index: token for token, index in model["vocab"].items()}
    for new in learned:
        model["vocab"][new.token] = new.id
        names[new.id] = new.token
        left, right = (names[parent] for parent in new.parents)
        model["merges"].append(f"{left} {right}" if as_text else [left, right])
    return json.dumps(result, ensure_ascii=False, indent=1)


def _words(base: "Pretokens", text: "CutText") -> dict[str, Word]:
    pretokens, (domain, general) = text.pretokens, (text.pretoken_times(pool).tolist() for pool in POOLS)
    rows = zip(pretokens, base.tokens_of(pretokens), domain, general, strict=True)
    return {pretoken: Word(list(tokens), *times) for pretoken, tokens, *times in rows if any(times)}


def _totals(words: Mapping[str, Word]) -> dict[str, int]:
    return {
        "domain": sum(len(word.tokens) * word.domain for word in words.values()),
        "general": sum(len(word.tokens) * word.general for word in words.values()),
    }


def _uses(words: Mapping[str, Word], learned: list[NewToken]) -> dict[int, tuple[int, int]]:
    """New id -> times it stands in the extended domain and general text."""
    uses = {new.id: (0, 0) for new in learned}
    for word in words.values():
        for token in word.tokens:
            if token in uses:
                domain, general = uses[token]
                uses[token] = (domain + word.domain, general + word.general)
    return uses


def show(extension: Mapping[str, Any]) -> None:
    """Print what was added and what it changed."""
    before, after = extension["tokens_before"], extension["tokens_after"]
    added, asked = len(extension["new_tokens"]), extension["asked"]
    first = ", ".join(repr(one["token"]) for one in extension["new_tokens"][:8])
    print(f"{added:,} of {asked:,} new tokens from id {extension['base_vocab']}: {first}")
    for pool in before:
        change = after[pool] / before[pool] - 1 if before[pool] else 0.0
        print(f"{pool:8} tokens: {before[pool]:,} -> {after[pool]:,} ({change:+.2%})")
    print(
        f"general text covered by new tokens: {extension['general_share']:.3%}; "
        f"candidates that general text uses too often: {extension['skipped_for_general']}"
    )
    print(", ".join(f"{name.replace('_', ' ')}: {count:,}" for name, count in extension["checks"].items()))


def main(argv: list[str] | None = None) -> None:
    """Extend a tokenizer on any text, or the tokenizer of a run on its kept documents."""
    from tokenization.command import counts, parse

    request = parse("tokenization.extend", __doc__ or "", argv, writes=True)
    if request.run is not None:
        from tokenization.vocabulary import rebuild

        show(rebuild(request.run, request.tokenizer, request.settings))
        print(f"written to {request.run / 'tokenizer'}")
        return
    from tokenization.cutting import CutText
    from tokenization.folder import written_whole
    from tokenization.pretokens import Pretokens

    assert request.output is not None
    base, settings, pools = Pretokens(request.tokenizer), request.settings, counts(request)
    check_extendable(base, request.tokenizer)
    with written_whole(request.output, ours="extension.json") as folder:
        extension, _ = extend_counted(
            base,
            request.tokenizer,
            pools,
            CutText(base, pools),
            settings.new_tokens,
            settings.max_general_share,
            folder,
            settings.min_count,
        )
    show(extension)
    print(f"written to {request.output}")


if __name__ == "__main__":
    from pipelines import cli

    cli.run(main)
