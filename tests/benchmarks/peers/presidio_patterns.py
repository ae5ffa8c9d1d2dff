"""Presidio's pattern recognisers over a JSON file of texts, without an NLP model: seconds, and the spans of each text.

    python presidio_patterns.py texts.json spans.json

Only recognisers for entities that the stage `redact` has, called one by one as AnalyzerEngine does, then Presidio's own
removal of duplicates. Scores from 0.3 on count: below are patterns that Presidio itself calls weak without context.
"""

import json
import logging
import sys
import time
from pathlib import Path

from presidio_analyzer import EntityRecognizer
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    DateRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UrlRecognizer,
    UsLicenseRecognizer,
    UsSsnRecognizer,
)

LEAST_SCORE = 0.3


def main() -> None:
    """Print the seconds; write [start, end, entity] lists (characters) as JSON."""
    texts = json.loads(Path(sys.argv[1]).read_text())
    recognisers = [
        made()
        for made in (
            CreditCardRecognizer,
            DateRecognizer,
            EmailRecognizer,
            IbanRecognizer,
            IpRecognizer,
            PhoneRecognizer,
            UrlRecognizer,
            UsLicenseRecognizer,
            UsSsnRecognizer,
        )
    ]
    logging.disable()  # it asks for a list of host suffixes on the net, and goes on with its own
    analyse("warm up jo@example.org, http://example.org, 301-496-5248", recognisers)
    start = time.perf_counter()
    found = [analyse(text, recognisers) for text in texts]
    seconds = time.perf_counter() - start
    spans = [[[one.start, one.end, one.entity_type] for one in results] for results in found]
    Path(sys.argv[2]).write_text(json.dumps(spans))
    print(json.dumps({"seconds": seconds}))


def analyse(text: str, recognisers: list[EntityRecognizer]) -> list:
    results = [one for r in recognisers for one in r.analyze(text, r.supported_entities, None) or []]
    return EntityRecognizer.remove_duplicates([one for one in results if one.score >= LEAST_SCORE])


main()
