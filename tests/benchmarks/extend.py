"""Vocabulary extension on the same real text: continued merges, add_tokens, a scratch BPE's merges.

    python tests/benchmarks/extend.py [--tokenizer gpt2] [--new-tokens 2000]

Learns on nine tenths of ../shared/data/domain (and, for what general text uses, of ../shared/data/general) and measures
on the rest. Prints the table of tokens saved, documents that got longer, unreachable tokens and seconds.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MEASURED = 6_000
"""Documents of each pool measured on, at most."""


def main() -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table
    from tokenizers import AddedToken, Tokenizer

    from tokenization.extend import extend

    options = arguments()
    learned_on, domain = split(read(DATA / "domain"))
    learned_general, general = split(read(DATA / "general"))
    with tempfile.TemporaryDirectory() as folder:
        base_folder = Path(folder) / "base"
        base_folder.mkdir()
        with gzip.open(DATA / "tokenizers" / f"{options.tokenizer}.tokenizer.json.gz") as file:
            (base_folder / "tokenizer.json").write_bytes(file.read())
        base = Tokenizer.from_file(str(base_folder / "tokenizer.json"))
        start = time.perf_counter()
        extension = extend(
            base_folder, learned_on, learned_general, options.new_tokens, 0.01, Path(folder) / "extended"
        )
        seconds = {"continued merges": time.perf_counter() - start}
        continued = Tokenizer.from_file(str(Path(folder) / "extended" / "tokenizer.json"))
    texts = [base.decoder.decode([one["token"]]) for one in extension["new_tokens"]]
    added = Tokenizer.from_str(base.to_str())
    added.add_tokens([AddedToken(text, normalized=False) for text in texts if "\ufffd" not in text])
    words = Tokenizer.from_str(base.to_str())
    words.add_tokens(costly_words(base, learned_on, options.new_tokens))
    start = time.perf_counter()
    appended, pieces = scratch_appended(base, learned_on, options.new_tokens)
    seconds["scratch BPE appended"] = time.perf_counter() - start
    unreachable = {
        "continued merges": extension["checks"]["unreachable_tokens"],
        "scratch BPE appended": sum([t.value for t in appended.model.tokenize(piece)] != [piece] for piece in pieces),
    }

    size = sum(len(text.encode()) for text in learned_on) / 1e6
    title = f"{options.tokenizer} + {options.new_tokens} tokens learned on {size:.0f} MB, measured on other documents"
    table = Table("", title=title, title_justify="left")
    for column in ("domain tokens", "general tokens", "longer general documents", "not read back", "unreachable", "s"):
        table.add_column(column, justify="right")
    before = base.encode_batch_fast(domain), base.encode_batch_fast(general)
    rows = {
        "continued merges": continued,
        "add_tokens, the same": added,
        "add_tokens, domain words": words,
        "scratch BPE appended": appended,
    }
    for name, tokenizer in rows.items():
        after = tokenizer.encode_batch_fast(domain), tokenizer.encode_batch_fast(general)
        longer = sum(len(new.ids) > len(old.ids) for old, new in zip(before[1], after[1], strict=True))
        lost = sum(
            base.decode(old.ids, skip_special_tokens=False) != tokenizer.decode(new.ids, skip_special_tokens=False)
            for old, new in zip(before[0] + before[1], after[0] + after[1], strict=True)
        )
        table.add_row(
            name,
            f"{change(before[0], after[0]):+.2%}",
            f"{change(before[1], after[1]):+.3%}",
            f"{longer} of {len(general)}",
            str(lost),
            str(unreachable.get(name, "-")),
            f"{seconds[name]:.1f}" if name in seconds else "-",
        )
    Console(width=140).print(table)


def costly_words(base: Any, texts: list[str], new_tokens: int) -> list[str]:
    """The words that would save the base most tokens if each were one token, with the space before them."""
    from tokenization.counting import count
    from tokenization.fertility import terms

    counted = dict(terms(count(texts).chunks).iter_rows())
    lengths = [len(encoding.ids) for encoding in base.encode_batch_fast([f" {word}" for word in counted])]
    saved = {f" {word}": counted[word] * (length - 1) for word, length in zip(counted, lengths, strict=True)}
    return sorted(saved, key=lambda word: (-saved[word], word))[:new_tokens]


def scratch_appended(base: Any, texts: list[str], new_tokens: int) -> tuple[Any, list[str]]:
    """The base with the tokens and merges that a BPE trained from scratch on `texts` has and the base has not."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    scratch = Tokenizer(models.BPE())
    scratch.pre_tokenizer = base.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    scratch.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=32_000, show_progress=False, initial_alphabet=alphabet)
    )
    trained, result = json.loads(scratch.to_str())["model"], json.loads(base.to_str())
    vocabulary = result["model"]["vocab"]
    pieces = [piece for piece in sorted(trained["vocab"], key=trained["vocab"].get) if piece not in vocabulary]
    for piece in pieces[:new_tokens]:
        vocabulary[piece] = len(vocabulary)
    known = {tuple(pair) for pair in result["model"]["merges"]}
    result["model"]["merges"] += [
        pair
        for pair in trained["merges"]
        if tuple(pair) not in known and pair[0] in vocabulary and pair[1] in vocabulary and "".join(pair) in vocabulary
    ]
    return Tokenizer.from_str(json.dumps(result)), pieces[:new_tokens]


def change(before: Iterable[Any], after: Iterable[Any]) -> float:
    """Change of the number of tokens."""
    return sum(len(one.ids) for one in after) / sum(len(one.ids) for one in before) - 1


def read(folder: Path) -> list[str]:
    """The texts of all files of a folder."""
    texts = []
    for file in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    return texts


def split(texts: list[str]) -> tuple[list[str], list[str]]:
    """Nine tenths to learn on, and the rest, at most MEASURED of it."""
    return [text for k, text in enumerate(texts) if k % 10], texts[::10][:MEASURED]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="gpt2", choices=["gpt2", "neox20b"], help="base (default gpt2)")
    parser.add_argument("--new-tokens", type=int, default=2000, help="tokens to add (default 2000)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
