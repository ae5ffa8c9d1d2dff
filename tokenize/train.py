"""A byte-level BPE tokenizer from scratch, for base models trained from random weights."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BOS, EOS = "<s>", "</s>"
"""Special tokens of a tokenizer trained here, with ids 0 and 1."""
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama 3's pattern: words with one character before them, up to three digits, punctuation, white space."""
SMALLEST = 258
"""256 bytes and two special tokens."""


def train(texts: Iterable[Any], vocab_size: int, output_dir: str | Path) -> dict[str, Any]:
    """Train a tokenizer on `texts` (strings, Polars or Arrow string columns) and write it to a folder.

    The same texts in the same order give the same file; it holds fewer tokens where the text offers fewer. There is no
    post-processor: tokenizer_config.json names BOS and EOS, and who encodes puts them where they belong.
    Returns {"vocabulary", "documents", "bytes"}.
    Raises ValueError where `vocab_size` does not hold the 256 bytes.
    """
    from tokenization.folder import written_whole

    with written_whole(output_dir, ours="tokenizer.json") as folder:
        return train_into(texts, vocab_size, folder)


def train_into(texts: Iterable[Any], vocab_size: int, folder: Path) -> dict[str, Any]:
    """`train`, into a folder that exists."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    from curate.files import write_json, write_text
    from tokenization.counting import columns

    if vocab_size < SMALLEST:
        raise ValueError(
            f"tokenizer.train: {vocab_size} is less than {SMALLEST} (256 bytes, 2 special tokens), so not every text "
            "could be written. Set 4096, say, or 0 to keep the base model's tokenizer."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    seen = {"documents": 0, "bytes": 0}

    def batches() -> Iterator[list[str]]:
        for column in columns(texts):
            seen["documents"] += column.len()
            seen["bytes"] += int(column.str.len_bytes().sum() or 0)
            yield column.to_list()

    tokenizer.train_from_iterator(batches(), trainer)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1_000_000,
        },
    )
    return {"vocabulary": tokenizer.get_vocab_size(), **seen}
