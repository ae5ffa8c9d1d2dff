"""Texts that a model goes on with, to be read by hand, and how much they repeat themselves."""

import json
from pathlib import Path
from typing import Any

from eval.answers import Answers

PROMPTS = Path(__file__).with_name("prompts.jsonl")
"""The 50 prompts of the tool's own, {"track", "prompt"} a line: 25 clinical ones, 25 of general text."""
GRAM = 4
"""Length in tokens of what counts as repeated."""


def write(answers: Answers, tokenizer: Path, prompts: Path, tokens: int) -> list[dict[str, Any]]:
    """{"track", "prompt", "text", "repetition"} for each prompt of a file: its greedy continuation by up to `tokens`.

    BOS stands before a prompt where the tokenizer in the folder `tokenizer` has one, as in training. To be called on
    the first rank within `answers.ask`. Raises ValueError naming the file where a line is no prompt.
    """
    from tokenization.encode import load, special_ids

    asked = _read(prompts)
    encoder, (bos, eos) = load(tokenizer), special_ids(tokenizer)
    room = answers.max_length - tokens
    if room < 1:
        raise ValueError(
            f"eval.generated_tokens: {tokens} tokens leave no room for a prompt, since the model sees "
            f"{answers.max_length} at once. Set it lower."
        )
    rows = [encoder.encode(one["prompt"], add_special_tokens=False).ids[-room:] for one in asked]
    if bos is not None:
        rows = [[bos, *row[1 - room :]] if room > 1 else [bos] for row in rows]
    written = answers.write(rows, tokens, [] if eos is None else [eos], [])
    return [
        {**one, "text": encoder.decode(new), "repetition": repetition(new)}
        for one, new in zip(asked, written, strict=True)
    ]


def repetition(tokens: list[int]) -> float:
    """Share of 4-grams that stood in the text before, 0 to 1 (seq-rep-4, Welleck et al. 2020, arXiv 1908.04319)."""
    grams = [tuple(tokens[at : at + GRAM]) for at in range(len(tokens) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise ValueError(f"eval.prompts: there is no file {path}, so there is nothing to go on from. Mend the path.")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            one = json.loads(line)
            track, prompt = one["track"], one["prompt"]
        except (ValueError, KeyError, TypeError):
            track = prompt = None
        if track not in ("domain", "general") or not isinstance(prompt, str) or not prompt:
            raise ValueError(
                f'{path}:{number}: is not {{"track": "domain" or "general", "prompt": text}}, so there is nothing to '
                "go on from. Mend the line."
            )
        found.append({"track": track, "prompt": prompt})
    return found
