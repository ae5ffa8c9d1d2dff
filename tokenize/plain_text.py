"""A tokenizer whose special tokens no text can become."""

import json
from pathlib import Path
from typing import Any


def plain_text(folder: Path, named: set[int | None]) -> tuple[dict[str, Any], dict[str, int]]:
    """A tokenizer.json, parsed, whose special tokens no text can match, and those tokens with their ids.

    tokenizers and gigatoken look for special tokens in the text first; without the entries they cannot. Some models
    hold the same strings in their vocabulary, where a whole-word look-up could still find them: there they get a name
    that is made of private-use characters. The unknown token stays findable by the model alone. `named` are further ids
    to treat as special (BOS and EOS). Dropout, which makes ids random, is off.
    """
    definition = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = definition["model"]
    added = definition.get("added_tokens") or []
    special = {token["content"]: token["id"] for token in added if token["special"] or token["id"] in named}
    vocabulary: Any = model["vocab"]
    hidden = {token: f"\ue000special {id}\ue000" for token, id in special.items()}
    if isinstance(vocabulary, dict):
        special |= {token: id for token, id in vocabulary.items() if id in named}
        hidden |= {token: f"\ue000special {id}\ue000" for token, id in special.items()}
        for token in sorted(hidden.keys() & vocabulary.keys()):
            vocabulary[hidden[token]] = vocabulary.pop(token)
    else:
        model["vocab"] = [[hidden.get(token, token), score] for token, score in vocabulary]
    if merges := model.get("merges"):  # "a b" or ["a", "b"]
        made = map("".join, merges) if isinstance(merges[0], list) else (merge.replace(" ", "") for merge in merges)
        model["merges"] = [merge for merge, token in zip(merges, made, strict=True) if token not in hidden]
    unknown = model.get("unk_token")
    if unknown in hidden:
        model["unk_token"] = hidden[unknown]
    if isinstance(model.get("unk_id"), int):
        unknown = vocabulary[model["unk_id"]][0]
    if model.get("dropout"):
        model["dropout"] = None
    definition["added_tokens"] = [token for token in added if token["content"] not in special]
    definition["post_processor"] = definition["truncation"] = definition["padding"] = None
    special.pop(unknown, None)
    return definition, special
