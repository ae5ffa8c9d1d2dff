"""Pre-tokens: the stretches a tokenizer looks at one by one, so tokens never cross their borders.

Byte-level tokenizers (GPT-2, NeoX, Llama 3, Qwen) cut text by a pattern. SentencePiece tokenizers (Llama 2, Mistral)
replace each space by the word mark "▁" and often cut nothing at all: their trainer kept pieces apart instead, at word
marks, single digits, changes from letters to signs. There text is cut between two kinds of character wherever no piece
of the vocabulary holds them side by side, so that new pieces keep to the rules the old ones were made by.

White space that the tokenizer takes out as an added token (NeoX's runs of spaces) is counted as plain text here: counts
are for choosing new tokens, and what they are chosen for does not contain such runs.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from unicodedata import category

from tokenizers import Tokenizer

MARK = "▁"
"""SentencePiece's word mark, which stands for a space."""
BLOCK = 50_000
"""Pre-tokens looked up at a time."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def tokenizer_file(folder: str | Path) -> Path:
    """The tokenizer.json of a Hugging Face folder, or the file itself, which may be SentencePiece's *.model.

    Raises ValueError where there is none.
    """
    path = Path(folder)
    file = path if path.is_file() else path / "tokenizer.json"
    if not file.is_file():
        raise ValueError(
            f"{file}: is not there, and a tokenizer is read from it or from a SentencePiece BPE file (--tokenizer "
            "FILE.model). Other forms are turned into it by transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    return file


def read(folder: str | Path) -> tuple[dict[str, Any], Tokenizer]:
    """A tokenizer.json, or a SentencePiece BPE model file (*.model), as plain values and as a tokenizer.

    Raises ValueError where it cannot be read.
    """
    file = tokenizer_file(folder)
    try:
        text = from_sentencepiece(file) if file.suffix == ".model" else file.read_text(encoding="utf-8")
        description, tokenizer = json.loads(text), Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises plain Exception
        raise ValueError(f"{file}: cannot be read as a tokenizer ({error}).") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return description, tokenizer


def from_sentencepiece(file: Path) -> str:
    """The tokenizer.json of a SentencePiece BPE model with byte fallback (Llama 2, Mistral): the same ids and text.

    Raises ValueError for a model of another kind.
    """
    from gigatoken._load.sentencepiece import sentencepiece_to_tokenizer_json

    description = json.loads(sentencepiece_to_tokenizer_json(file.read_bytes()))
    steps = [
        {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if any(step["type"] == "Prepend" for step in parts_of(description["normalizer"])):
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    description["decoder"] = {"type": "Sequence", "decoders": steps}
    return json.dumps(description, ensure_ascii=False)


def sentencepiece_config(tokens: Iterable[str]) -> dict[str, Any]:
    """The tokenizer_config.json of a SentencePiece file: its special tokens, under SentencePiece's usual names."""
    usual = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    held = set(tokens) & set(usual.values())
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{role: token for role, token in usual.items() if token in held},
        "clean_up_tokenization_spaces": False,
    }


def parts_of(component: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder of a tokenizer.json, with sequences opened up."""
    if component is None:
        return []
    for key in ("normalizers", "pretokenizers", "decoders"):
        if component.get("type") == "Sequence" and key in component:
            return [part for inner in component[key] for part in parts_of(inner)]
    return [component]


def marks_words(description: dict[str, Any]) -> bool:
    """True where the tokenizer writes spaces as SentencePiece's word mark."""
    steps = parts_of(description.get("normalizer")) + parts_of(description.get("pre_tokenizer"))
    return any(
        step["type"] == "Metaspace" or (step["type"] == "Replace" and step.get("content") == MARK) for step in steps
    )


def is_byte_level(description: dict[str, Any]) -> bool:
    """True where the tokenizer writes bytes as GPT-2's 256 visible characters."""
    steps = parts_of(description.get("normalizer")) + parts_of(description.get("pre_tokenizer"))
    return any(step["type"] == "ByteLevel" for step in steps)


def is_byte_piece(token: str) -> bool:
    """True for a SentencePiece byte-fallback piece, e.g. <0x0A>."""
    return _BYTE.fullmatch(token) is not None


class Pretokens:
    """The pre-tokens of a tokenizer and their tokens, each computed once."""

    def __init__(self, folder: str | Path, extends: "Pretokens | None" = None) -> None:
        """Read the tokenizer of `folder`; it cuts text as `extends` does, where that is given, and shares its work."""
        self.description, self.tokenizer = read(folder)
        self.names = {index: token for token, index in self.tokenizer.get_vocab(with_added_tokens=True).items()}
        """Token id -> the token as tokenizer.json writes it, added tokens included."""
        self._marked = marks_words(self.description)
        self.joined = _joined_kinds(self.description, self.names.values()) if self._marked else frozenset()
        """Pairs of kinds of character that a piece holds side by side."""
        self._splits: dict[str, list[str]] = extends._splits if extends else {}
        self._tokens: dict[str, list[int]] = {}

    def split(self, chunk: str) -> list[str]:
        """The pre-tokens of a chunk as they stand inside running text (with its leading space, if it has one)."""
        found = self._splits.get(chunk)
        if found is None:
            found = self._splits[chunk] = self._split(chunk)
        return found

    def _split(self, chunk: str) -> list[str]:
        # SentencePiece puts a word mark before whatever it is given, as is right for the start of a document only.
        # Elsewhere a full stop takes that mark, and goes again.
        inside = self._marked and chunk.startswith(" ")
        text = f".{chunk}" if inside else chunk
        if self.tokenizer.normalizer is not None:
            text = self.tokenizer.normalizer.normalize_str(text)
        if self.tokenizer.pre_tokenizer is None:
            pieces = [text]
        else:
            pieces = [piece for piece, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        if not self._marked:
            return pieces
        if inside:
            pieces[0] = pieces[0].partition(".")[2]
        return [word for piece in pieces for word in self._cut_between_kinds(piece)]

    def _cut_between_kinds(self, text: str) -> list[str]:
        kinds = [kind_of(character) for character in text]
        cuts = [k for k in range(1, len(text)) if (kinds[k - 1], kinds[k]) not in self.joined]
        return [text[start:end] for start, end in pairwise([0, *cuts, len(text)]) if end > start]

    def tokens(self, pretoken: str) -> list[int]:
        """The token ids of a pre-token."""
        found = self._tokens.get(pretoken)
        if found is None:
            found = [token.id for token in self.tokenizer.model.tokenize(pretoken)]
            self._tokens[pretoken] = found
        return found

    def encode(self, chunk: str) -> list[int]:
        """The token ids of a chunk inside running text."""
        return [token for pretoken in self.split(chunk) for token in self.tokens(pretoken)]

    def tokens_of(self, pretokens: list[str]) -> list[list[int]]:
        """The token ids of many pre-tokens, in parallel."""
        new = [pretoken for pretoken in pretokens if pretoken not in self._tokens]
        model = Tokenizer(self.tokenizer.model)
        for start in range(0, len(new), BLOCK):
            block = new[start : start + BLOCK]
            for pretoken, encoding in zip(block, model.encode_batch_fast(block), strict=True):
                self._tokens[pretoken] = encoding.ids
        return [self._tokens[pretoken] for pretoken in pretokens]

    def readable(self, tokens: Iterable[int]) -> list[str]:
        """Tokens as text; bytes that are no whole character are written \\xNN."""
        return [readable(self.names[token], self.description) for token in tokens]


def _joined_kinds(description: dict[str, Any], tokens: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Pairs of kinds of character that a piece of a SentencePiece vocabulary holds side by side.

    A mark behind anything but a mark is left out: documents are cut into chunks there.
    """
    special = {added["content"] for added in description.get("added_tokens", [])}
    special.add(str(description["model"].get("unk_token")))
    pieces = [token for token in tokens if token not in special and not is_byte_piece(token)]
    pairs = {(kind_of(left), kind_of(right)) for piece in pieces for left, right in pairwise(piece)}
    return frozenset((left, right) for left, right in pairs if right != "mark" or left == "mark")


@cache
def kind_of(character: str) -> str:
    """The kind of a character: mark, letter (with its combining signs), digit, number (as ² and Ⅳ) or other."""
    if character == MARK:
        return "mark"
    found = category(character)
    return "digit" if found == "Nd" else {"L": "letter", "M": "letter", "N": "number"}.get(found[0], "other")


def readable(token: str, description: dict[str, Any]) -> str:
    """A token as text; bytes that are no whole character are written \\xNN."""
    if is_byte_level(description):
        return token_bytes(token).decode("utf-8", errors="backslashreplace")
    return token.replace(MARK, " ")


def byte_characters(text: str) -> str:
    """Text as a byte-level tokenizer writes it: GPT-2's visible character for each byte."""
    return text.encode().decode("latin-1").translate(_CHARACTER_OF)


def token_bytes(token: str) -> bytes:
    """The bytes that a byte-level token stands for; a token written otherwise is taken as its UTF-8."""
    try:
        return bytes(_BYTE_OF[character] for character in token)
    except KeyError:
        return token.encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's writing of bytes: printable Latin-1 as itself, the other 68 as the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + k): byte for k, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
_CHARACTER_OF = {byte: character for character, byte in _BYTE_OF.items()}
NEVER_IN_TEXT = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))
"""Bytes that UTF-8 never uses."""
ALPHABET = frozenset(character for character, byte in _BYTE_OF.items() if byte not in NEVER_IN_TEXT)
"""The 243 characters a byte-level vocabulary needs, or it loses text."""
