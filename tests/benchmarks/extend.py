"""Vocabulary extension on the same real text: continued merges, add_tokens, a scratch BPE's merges.

    python tests/benchmarks/extend.py [--tokenizer gpt2 neox20b mistral_v3 tiny-llama] [--new-tokens 2000]

Learns on 50 MB of ../shared/data/domain (and, for what general text uses, of ../shared/data/general) and measures on
other documents. `add_tokens` gets the strings that the continued merges learned, or its own best choice: the whole
words that would save most tokens. `x saved` is the domain tokens saved by the continued merges over those saved by it.
"""

import argparse
import gzip
import json
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import timing

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MEASURED = 1_000
"""Documents of each pool measured on, at most."""


def main() -> None:
    """Print a table for each tokenizer."""
    options = arguments()
    for name in options.tokenizer:
        with tempfile.TemporaryDirectory() as folder:
            bench(name, Path(folder), options)


def bench(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Extend one tokenizer in all ways, and report."""
    from tokenizers import AddedToken, Tokenizer

    from tokenization.extend import extend
    from tokenization.pretokens import Pretokens, readable

    learned_on, domain = split(read(DATA / "domain"), options.megabytes)
    learned_general, general = split(read(DATA / "general"), options.megabytes)
    where = base_of(name, folder)
    seconds = {}
    start = time.perf_counter()
    extension = extend(where, learned_on, learned_general, options.new_tokens, 0.01, folder / "extended")
    seconds["continued merges"] = time.perf_counter() - start
    pretokens = Pretokens(where)
    base = pretokens.tokenizer
    texts = [readable(one["token"], pretokens.description) for one in extension["new_tokens"]]
    contenders = {"continued merges": Pretokens(folder / "extended").tokenizer}
    for kind, strings in (
        ("add_tokens, the same", [text for text in texts if "\\x" not in text]),
        ("add_tokens, best words", costly_words(base, learned_on, options.new_tokens)),
    ):
        contenders[kind] = Tokenizer.from_str(base.to_str())
        contenders[kind].add_tokens([AddedToken(text, normalized=False) for text in strings])
    start = time.perf_counter()
    contenders["scratch BPE appended"], pieces = scratch_appended(base, learned_on, options.new_tokens)
    seconds["scratch BPE appended"] = time.perf_counter() - start
    appended = contenders["scratch BPE appended"].model
    unreachable = {
        "continued merges": extension["checks"]["unreachable_tokens"],
        "scratch BPE appended": sum([token.value for token in appended.tokenize(piece)] != [piece] for piece in pieces),
    }
    before = [base.encode_batch_fast(texts, add_special_tokens=False) for texts in (domain, general)]
    rows: dict[str, dict[str, Any]] = {"base": {"domain": total(before[0]), "general": total(before[1])}}
    for kind, tokenizer in contenders.items():
        rows[kind] = measure(base, tokenizer, before, domain, general)
        rows[kind] |= {"unreachable": unreachable.get(kind), "seconds": seconds.get(kind)}
    ours = rows["base"]["domain"] - rows["continued merges"]["domain"]
    for kind in list(contenders)[1:]:
        saved = rows["base"]["domain"] - rows[kind]["domain"]
        rows[kind]["x saved"] = round(ours / saved, 2) if saved > 0 else "saves none"
    size = sum(len(text.encode()) for text in learned_on) / 1e6
    title = f"{name} + {options.new_tokens} tokens learned on {size:.0f} MB, measured on other documents"
    timing.report(f"extend-{name}", title, rows)


def measure(base: Any, tokenizer: Any, before: Any, domain: list[str], general: list[str]) -> dict[str, Any]:
    """The figures of one extended tokenizer beside the base's encodings."""
    after = [tokenizer.encode_batch_fast(texts, add_special_tokens=False) for texts in (domain, general)]
    first_new = base.get_vocab_size(with_added_tokens=True)
    tokens = [total(encodings) for encodings in after]
    return {
        "domain": tokens[0],
        "domain %": round(100 * (tokens[0] / total(before[0]) - 1), 2),
        "general": tokens[1],
        "general %": round(100 * (tokens[1] / total(before[1]) - 1), 2),
        "longer": sum(len(new.ids) > len(old.ids) for old, new in zip(before[1], after[1], strict=True)),
        "of": len(general),
        "not read back": sum(
            base.decode(old.ids, skip_special_tokens=False) != tokenizer.decode(new.ids, skip_special_tokens=False)
            for pool in range(2)
            for old, new in zip(before[pool], after[pool], strict=True)
        ),
        "share %": round(100 * sum(index >= first_new for one in after[1] for index in one.ids) / tokens[1], 2),
    }


def base_of(name: str, folder: Path) -> Path:
    """The tokenizer of that name, as `--tokenizer` takes it."""
    if name == "tiny-llama":
        return ROOT / "pipelines" / "models" / name
    if name == "mistral_v3":
        return DATA / "tokenizers" / "mistral_v3.sentencepiece.model"
    (folder / "base").mkdir()
    with gzip.open(DATA / "tokenizers" / f"{name}.tokenizer.json.gz") as file:
        (folder / "base" / "tokenizer.json").write_bytes(file.read())
    return folder / "base"


def costly_words(base: Any, texts: list[str], new_tokens: int) -> list[str]:
    """The words that would save the base most tokens if each were one token, with the space before them."""
    counts = Counter(word for text in texts for word in re.findall(r"[^\W\d_]{3,}", text))
    words = [word for word, count in counts.items() if count >= 20]
    lengths = [len(encoding.ids) for encoding in base.encode_batch_fast([f" {word}" for word in words])]
    saved = {f" {word}": counts[word] * (length - 1) for word, length in zip(words, lengths, strict=True)}
    return sorted(saved, key=lambda word: (-saved[word], word))[:new_tokens]


def scratch_appended(base: Any, texts: list[str], new_tokens: int) -> tuple[Any, list[str]]:
    """The base with the tokens and merges that a BPE trained from scratch on `texts` has and the base has not."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    scratch = Tokenizer(models.BPE())
    scratch.pre_tokenizer = base.pre_tokenizer or pre_tokenizers.Metaspace()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if base.pre_tokenizer else []
    scratch.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=32_000, show_progress=False, initial_alphabet=alphabet)
    )
    trained, result = json.loads(scratch.to_str())["model"], json.loads(base.to_str())
    vocabulary = result["model"]["vocab"]
    pieces = [piece for piece in sorted(trained["vocab"], key=trained["vocab"].get) if piece not in vocabulary]
    first = base.get_vocab_size(with_added_tokens=True)
    for added in result["added_tokens"]:
        vocabulary.setdefault(added["content"], added["id"])
    vocabulary |= {piece: first + place for place, piece in enumerate(pieces[:new_tokens])}
    known = {tuple(pair) for pair in result["model"]["merges"]}
    result["model"]["merges"] += [
        pair
        for pair in trained["merges"]
        if tuple(pair) not in known and pair[0] in vocabulary and pair[1] in vocabulary and "".join(pair) in vocabulary
    ]
    return Tokenizer.from_str(json.dumps(result)), pieces[:new_tokens]


def total(encodings: list[Any]) -> int:
    """Tokens of all encodings."""
    return sum(len(one.ids) for one in encodings)


def read(folder: Path) -> list[str]:
    """The texts of all files of a folder."""
    texts = []
    for file in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    return texts


def split(texts: list[str], megabytes: int) -> tuple[list[str], list[str]]:
    """Texts to learn on, at most `megabytes` of nine tenths, and MEASURED of the rest."""
    learned = [text for k, text in enumerate(texts) if k % 10]
    share = min(1.0, megabytes * 1e6 / sum(len(text.encode()) for text in learned))
    kept = [text for k, text in enumerate(learned) if int((k + 1) * share) > int(k * share)]
    held_out = texts[::10]
    return kept, held_out[:: -(-len(held_out) // MEASURED)]


def arguments() -> argparse.Namespace:
    """The command line."""
    names = ["gpt2", "neox20b", "mistral_v3", "tiny-llama"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", nargs="+", default=names, choices=names, help="bases (default all four)")
    parser.add_argument("--new-tokens", type=int, default=2000, help="tokens to add (default 2000)")
    parser.add_argument("--megabytes", type=int, default=50, help="domain text learned on (default 50)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
