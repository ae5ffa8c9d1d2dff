"""Secrets stay out of what a run writes: a pipeline that holds one is refused, and messages are printed without any.

The resolved pipeline becomes pipeline.yaml, config.json and part of logs, so it must not hold one in the first place.
Storage and hubs take theirs from the environment or from their own credentials files.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

_USER = re.compile(r"(?<=://)[^/\s@]*:[^/\s@]+(?=@)")
"""user:password in a URL."""
_QUERY = re.compile(
    r"(?i)(?<=[?&;])((?:[\w.-]*(?:token|secret|passw|signature|credential|api_?key|access_?key)[\w.-]*|sig)=)[^&;\s]+"
)
"""A parameter of a URL that lets its holder in."""
_TOKEN = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[a-z]_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*KEY"
)
"""Tokens known by their beginning: Hugging Face, AWS, GitHub; a private key."""
_NAME = re.compile(
    r"(?i)(?:^|[_.-])(?:token|secret|password|passwd|passphrase|credentials?|(?:api|access|secret|private)_?key(?:_id)?)$"
)
"""Names of keys and of variables of the environment that hold one."""
_SPECIAL = re.compile(r"(?i)(?:bos|eos|pad|unk|sep|cls|mask)_token$")
"""Tokens of a tokenizer."""
HIDDEN = "***"
SHORTEST = 8
"""Characters of a variable's value; shorter ones would be found in ordinary words."""


def refuse(values: Any, where: str) -> None:
    """Raises ValueError where a pipeline's values hold a secret; the message names the key and does not show it."""
    for key, what in _found(values, ""):
        raise ValueError(
            f"{where}: {key}: holds {what}, which would be written to the run's pipeline.yaml, config.json and logs. "
            "Take it out, and give it by the environment (e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, HF_TOKEN, "
            "GOOGLE_APPLICATION_CREDENTIALS) or by the service's own credentials file."
        )


def scrub(text: str) -> str:
    """A message with *** for the passwords and tokens in its URLs, and for the secrets of this environment."""
    for name, value in os.environ.items():
        if _NAME.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    text = _QUERY.sub(rf"\g<1>{HIDDEN}", _USER.sub(HIDDEN, text))
    return _TOKEN.sub(HIDDEN, text)


def _found(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{key}.{name}" if key else str(name)
            if isinstance(inner, str) and inner and _NAME.search(str(name)) and not _SPECIAL.search(str(name)):
                yield scrub(below), "a secret, by its name"
            yield from _found(name, scrub(below))
            yield from _found(inner, scrub(below))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _found(inner, f"{key}[{number}]")
    elif isinstance(value, str):
        if _USER.search(value) or _QUERY.search(value):
            yield key, "a URL with a password or token"
        elif _TOKEN.search(value):
            yield key, "an access token or private key"
