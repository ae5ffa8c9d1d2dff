"""Question-answer records as running text, so that the stages and the model see text like any other.

Which of the templates a record is written with is drawn from the seed and its id, so that no one form is learned with
the facts (reading comprehension as pretraining text: Cheng et al. 2023, arXiv 2309.09530). A record that says no right
answer is not guessed at: it is an unreadable record.
"""

import hashlib
from typing import Any

import orjson

from curate.config import Reformat

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PLAIN = (
    "Question: {question}\nAnswer: {answer}",
    "Q: {question}\n\nA: {answer}",
    "{question}\n\n{answer}",
    "{question}\nThe answer is: {answer}",
    'To the question "{question}" the answer is: {answer}',
    "Someone asked: {question}\nThe reply was: {answer}",
)
"""Templates of a record without options."""
CHOICES = (
    "Question: {question}\n{lines}\nAnswer: {letter}. {answer}",
    "{question}\n\n{lines}\n\nThe right answer is {letter}: {answer}",
    "Q: {question} ({inline})\n\nA: {answer}",
    "{question}\nPossible answers are: {inline}.\nThe correct one is: {answer}",
    "{question}\n\n{answer}",
    "Question: {question}\nAnswer: {answer}",
)
"""Templates of a record with options, the last two of which leave them out."""


class NoAnswer(Exception):
    """What a record lacks, to stand behind `record N`."""


def as_text(record: dict[str, Any], identifier: str, keys: Reformat) -> str:
    """The record as running text, its context (where there is one) as a paragraph before.

    Raises NoAnswer where it has no question or answer, or an answer that is none of its options.
    """
    question, context = _string(record, keys.question), _string(record, keys.context)
    if not question:
        raise NoAnswer(f"has no {keys.question!r}; its keys: {', '.join(map(str, record))[:100]}")
    options = _options(record, keys.options)
    place, answer = _answer(record, keys, options)
    templates = CHOICES if options else PLAIN
    listed = [f"{letter}. {option}" for letter, option in zip(LETTERS, options.values(), strict=False)]
    text = templates[_draw(keys.seed, identifier, len(templates))].format(
        question=question,
        answer=answer,
        letter=LETTERS[place] if place >= 0 else "",
        lines="\n".join(listed),
        inline=", ".join(options.values()),
    )
    return f"{context}\n\n{text}" if context else text


def identifier(record: dict[str, Any], own: Any) -> str:
    """The record's own id, or the hash of all it holds."""
    if own is not None and own != "":
        return str(own)
    content = orjson.dumps(record, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _options(record: dict[str, Any], key: str) -> dict[str, str]:
    """The options by how an answer names them: the keys that they have, or letters; empty where there are none."""
    given = record.get(key) or {}
    if isinstance(given, dict):  # Parquet gives each record the letters of all; a gap before others stays an error
        last = max((at for at, option in enumerate(given.values()) if option is not None), default=-1)
        given = dict(list(given.items())[: last + 1])
    if isinstance(given, list):
        given = dict(zip(LETTERS, given, strict=False)) if len(given) <= len(LETTERS) else {"": None}
    if not isinstance(given, dict) or not all(isinstance(option, str) and option.strip() for option in given.values()):
        raise NoAnswer(f"has {key!r} that are not up to {len(LETTERS)} texts, as a list or by letter")
    return {str(name): option.strip() for name, option in given.items()}


def _answer(record: dict[str, Any], keys: Reformat, options: dict[str, str]) -> tuple[int, str]:
    """Place of the answer among the options (-1 without options), and its text."""
    given = record.get(keys.answer)
    if given is None or isinstance(given, bool | list | dict) or not str(given).strip():
        raise NoAnswer(f"has no {keys.answer!r} that is a text or a number")
    if isinstance(given, float) and given.is_integer():  # a column of integers with gaps is one of floats
        given = int(given)
    text = str(given).strip()
    if not options:
        return -1, text
    names, texts = list(options), list(options.values())
    if isinstance(given, int):
        place = given if 0 <= given < len(texts) else -1
    else:
        place = texts.index(text) if text in texts else names.index(text) if text in names else -1
    if place < 0:
        raise NoAnswer(f"has the answer {text[:40]!r}, which is none of its {len(texts)} {keys.options}")
    return place, texts[place]


def _string(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return value.strip() if isinstance(value, str) else ""


def _draw(seed: int, identifier: str, count: int) -> int:
    """A number below `count`, the same for the same seed and id everywhere."""
    digest = hashlib.blake2b(f"{seed}/{identifier}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % count
