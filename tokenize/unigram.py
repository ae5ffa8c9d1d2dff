"""Pieces for a Unigram tokenizer (Kudo 2018, arXiv 1804.10959), scored so that they only ever join its own tokens.

A Unigram tokenizer takes the segmentation of highest total score, the sum of log-probabilities of its pieces. A new
piece scores what the base gives its string, the sum over its parts, plus JOIN for every border between them. So the
best segmentation is still the base's, with as many borders removed as the new pieces can remove: no text takes more
tokens than it did, and every piece alone is one token. A piece scored by its own frequency has no such guarantee: it
can win over two good neighbours and leave their rests in crumbs.

The pieces are those of the merge loop (merges.py), run for TRIED times as many: a Unigram piece needs no shorter ones
to be reached by, so those that save least are left out again.

The one thing beside it that new pieces change is the score of unknown characters, which tokenizers sets below the
lowest score; it decides nothing where each known character has a piece of its own, as SentencePiece's trainer sees to.
"""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from tokenization.merges import Limits, NewToken, Word, learn

JOIN = 1e-6
"""Score for each border removed: far above the rounding of float64 sums, far below the gaps between scores."""
TRIED = 2
"""Candidates learned for each piece wanted."""


def choose(
    words: Iterable[Word], names: Mapping[int, str], unmergeable: frozenset[int], limits: Limits
) -> tuple[list[NewToken], int]:
    """Pieces that save most domain tokens, and the number of candidates that general text uses too often.

    Their parents are the base's own tokens. `words` stay as they are. The share of general text covered is that of all
    candidates together: after leaving some out it can lie a little above, see `learn_within`.
    """
    trial = [Word(list(word.tokens), word.domain, word.general) for word in words]
    learned, skipped = learn(trial, names, unmergeable, replace(limits, new_tokens=TRIED * limits.new_tokens))
    parts: dict[int, tuple[int, ...]] = {}
    for new in learned:
        parts[new.id] = tuple(base for parent in new.parents for base in parts.get(parent, (parent,)))
    saved = dict.fromkeys(parts, 0)
    for word in trial:
        for token in word.tokens:
            if token in saved:
                saved[token] += word.domain * (len(parts[token]) - 1)
    best = sorted(learned, key=lambda new: (-saved[new.id], new.id))[: limits.new_tokens]
    first = max(names) + 1
    kept = sorted(best, key=lambda new: new.id)
    return [NewToken(first + place, new.token, parts[new.id], new.count) for place, new in enumerate(kept)], skipped


def extended(description: Mapping[str, Any], learned: Iterable[NewToken]) -> str:
    """The tokenizer.json with the new pieces and their scores behind all others.

    Raises ValueError where added tokens leave a gap in the ids, because a Unigram piece's id is its place in the list.
    """
    result = deepcopy(dict(description))
    pieces = result["model"]["vocab"]
    lowest = min(score for _, score in pieces)
    known = {piece for piece, _ in pieces}
    for added in sorted(result.get("added_tokens", []), key=lambda added: added["id"]):
        if added["content"] in known:
            continue
        if added["id"] != len(pieces):
            raise ValueError(
                f"the tokenizer cannot be extended: its added token {added['content']} has the id {added['id']}, but "
                f"the next free one is {len(pieces)}, so new pieces could not stand above it. "
                "Set tokenizer.extend: never."
            )
        pieces.append([added["content"], lowest])
    for new in learned:
        score = sum(pieces[parent][1] for parent in new.parents) + JOIN * (len(new.parents) - 1)
        pieces.append([new.token, score])
    return json.dumps(result, ensure_ascii=False, indent=1)


def learn_within(
    words: Mapping[str, Word], names: Mapping[int, str], unmergeable: frozenset[int], limits: Limits, base: Any
) -> tuple[list[NewToken], int, list[list[int]]]:
    """`choose` until the pieces cover no more general text than `limits` allow.

    Returns the pieces, the candidates skipped, and the tokens of each of `words` with the pieces.
    """
    from tokenizers import Tokenizer

    asked = limits
    while True:
        learned, skipped = choose(words.values(), names, unmergeable, asked)
        model = Tokenizer(Tokenizer.from_str(extended(base.description, learned)).model)
        tokens = [encoding.ids for encoding in model.encode_batch_fast(list(words))]
        new = {one.id for one in learned}
        general = covered = 0
        for word, after in zip(words.values(), tokens, strict=True):
            if word.general:
                general += word.general * len(after)
                covered += word.general * sum(token in new for token in after)
        if limits.max_general_share == 1 or covered <= limits.max_general_share * general:
            return learned, skipped, tokens
        asked = replace(asked, max_general_share=asked.max_general_share * 0.9)
