"""fastText's training in a process of its own: `python -m curate.fasttext_train LINES MODEL KEYS`, KEYS as JSON.

With one thread fastText 0.9.2 sets the first tenth of its vectors and leaves the rest as the memory was. In a process
that has done nothing before that is new memory, which is zero; in one that has curated for a while it can be what was
there before, and "Encountered NaN".
"""

import json
import sys


def main(lines: str, model: str, keys: str) -> None:
    """Train on the file `lines`, write `model`; exit status 1 with fastText's own words where it meets NaN."""
    import fasttext

    try:
        fasttext.train_supervised(lines, loss="softmax", thread=1, verbose=0, **json.loads(keys)).save_model(model)
    except RuntimeError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
