"""Names of people and places, recognised by Presidio over a spaCy model; eponyms (Parkinson, Crohn) stay."""

import functools
import re
from typing import Any

from curate.identifiers import Found

ENTITIES = {"PERSON": "person", "LOCATION": "location"}
"""Presidio's names for what is recognised, and ours."""

_EPONYMS = frozenset(
    "addison alport alzheimer apgar asperger babinski baker barrett bartholin bell billroth braden brudzinski burkitt "
    "charcot cheyne chiari colles crohn cushing dandy down doppler duchenne dupuytren epstein ewing fallot foley "
    "fowler gleason glasgow goodpasture graves guillain hartmann hashimoto hodgkin horner huntington kaposi kawasaki "
    "kerley kernig killip klinefelter kocher korsakoff kussmaul lachman lewy lou lyme mallory marfan mcburney meniere "
    "meckel mobitz murphy nissen osgood osler paget pap parkinson peyronie phalen prader raynaud reye romberg roux "
    "schatzki schilling sjogren stevens stokes swan takayasu tinel tourette trendelenburg turner valsalva virchow "
    "wegener weiss wernicke whipple wilms wilson wolff zollinger".split()
)
"""Names that stand for a finding, a disease or a device where no first name comes before them."""
_AFTER_EPONYM = re.compile(
    r"(?:['’]?s)?[\s-]+(?:disease|syndrome|sign|test|score|scale|criteria|fracture|palsy|catheter|lymphoma|sarcoma|"
    r"reflex|phenomenon|maneuver|manoeuvre|procedure|operation|index|classification|grade|tumou?r|cyst|hernia|node|"
    r"chorea|contracture|disorder|dementia|encephalopathy|esophagus|oesophagus|thyroiditis|stain|body|bodies|cells?|"
    r"position|incision|clamp|retractor|forceps|position|anaemia|anemia|malformation|ulcer|gland|lines?)\b",
    re.IGNORECASE,
)


def recognise(text: str, model: str) -> list[Found]:
    """People and places in a text as byte spans, eponyms left out; `model` as spaCy loads it."""
    found = []
    for result in _analyzer(model).analyze(text=text, language="en", entities=list(ENTITIES)):
        start, end = result.start, result.end
        if not is_eponym(text, start, end):
            first = len(text[:start].encode())
            last = first + len(text[start:end].encode())
            found.append(Found(first, last, ENTITIES[result.entity_type], "recognised"))
    return found


def is_eponym(text: str, start: int, end: int) -> bool:
    """True where the name text[start:end] is that of a disease, a sign, a test or a device.

    >>> is_eponym("His Parkinson disease is stable", 4, 13), is_eponym("Mr. Parkinson is stable", 4, 13)
    (True, False)
    """
    words = re.findall(r"[^\W\d_]+", text[start:end].lower())
    if text[:start].rstrip().lower().endswith(("dr.", "mr.", "mrs.", "ms.", "miss", "doctor", "patient")):
        return False
    if _AFTER_EPONYM.match(text, end):
        return True
    return bool(words) and all(word in _EPONYMS or word == "s" for word in words)


def missing(model: str) -> str:
    """What to install before names can be recognised; "" where nothing is missing."""
    try:
        import presidio_analyzer  # noqa: F401
        import spacy
    except ImportError:
        return "Presidio is not installed. Install it: pip install 'palimpsest[presidio]'"
    from pathlib import Path

    if spacy.util.is_package(model) or Path(model).exists():
        return ""
    return f"spaCy has no model {model!r}. Install it: python -m spacy download {model}; or name a model's folder"


@functools.cache
def _analyzer(model: str) -> Any:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    models = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    engine = NlpEngineProvider(nlp_configuration=models).create_engine()
    registry = RecognizerRegistry(recognizers=[SpacyRecognizer(supported_entities=list(ENTITIES))])
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
