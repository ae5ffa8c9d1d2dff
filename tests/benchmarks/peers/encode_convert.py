"""A SentencePiece .model as the tokenizer.json that transformers makes of it: encode_convert.py MODEL FOLDER."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from transformers import LlamaTokenizer


def main() -> None:
    """Convert."""
    model, folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(model, Path(name) / "tokenizer.model")
        config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        (Path(name) / "tokenizer_config.json").write_text(json.dumps(config))
        LlamaTokenizer.from_pretrained(name).save_pretrained(folder)
    print(json.dumps({"folder": folder}))


if __name__ == "__main__":
    main()
