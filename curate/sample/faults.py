"""Ways to spoil a document, and documents that only look spoiled."""

import re
from random import Random

from curate.sample import clinical
from curate.sample.bench import Item
from curate.sample.clinical_facts import CONDITIONS, DRUGS, DRUGS_FOR
from curate.sample.grammar import Writer

_FILLERS = "also still often usually clearly again perhaps indeed then rather quite soon".split()
_LOOK_ALIKES = {
    "m": "rn",
    "l": "1",
    "o": "0",
    "e": "c",
    "h": "b",
    "i": "!",
    "s": "5",
    "cl": "d",
    "n": "u",
    "t": "f",
    "a": "@",
}
_LATIN = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua ut enim ad minim veniam quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat"
).split()


def shingles(text: str) -> set[tuple[str, ...]]:
    """The word 5-grams of a text, lower-cased, split at white space."""
    words = text.lower().split()
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def jaccard(one: str, other: str) -> float:
    """Share of word 5-grams that two texts have in common."""
    first, second = shingles(one), shingles(other)
    return len(first & second) / max(1, len(first | second))


def edited(text: str, rng: Random, floor: float = 0.8) -> str:
    """A near-duplicate: 0.5 to 3 % of words swapped, dropped or added; word-5-gram Jaccard at least `floor`."""
    words = re.split(r"(\s+)", text)  # words at even places, the white space between them at odd ones
    edits = max(1, round(len(words) / 2 * rng.uniform(0.005, 0.03)))
    result = text
    for place in rng.sample(range(2, len(words) - 2, 2), min(edits, len(words) // 2 - 4)):
        before = words[place]
        end = before[len(before.rstrip(".,;:?!")) :]
        change = rng.random()
        words[place] = (
            rng.choice(_FILLERS) + end
            if change < 0.6
            else f"{rng.choice(_FILLERS)} {before}"
            if change < 0.8
            else end or "the"
        )
        changed = "".join(words)
        if jaccard(text, changed) < floor + 0.02:
            words[place] = before
            break
        result = changed
    return result


def misread(text: str, rng: Random) -> str:
    """As a poor scan is read: about one letter in twelve taken for another, words torn apart, lines broken."""
    out = []
    for word in text.split(" "):
        letters = [_LOOK_ALIKES.get(letter, letter) if rng.random() < 0.13 else letter for letter in word]
        if len(letters) > 5 and rng.random() < 0.12:
            letters.insert(rng.randint(2, len(letters) - 2), rng.choice([" ", "-\n", "~", " ."]))
        out.append("".join(letters))
    return " ".join(out)


def shuffled(text: str, rng: Random) -> str:
    """The same words in no order."""
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def leak(host: str, item: Item, how: str, rng: Random) -> str:
    """`host` with a paragraph that gives away a benchmark item: verbatim, normalised, or question_only."""
    answers = " ".join(f"({letter}) {choice}" for letter, choice in zip("ABCD", item.choices, strict=True))
    passage = {
        "verbatim": f"{item.question} {answers} Answer: {item.answer_text}.",
        "normalised": normalised(f"{item.question} {item.answer_text}") + ".",
        "question_only": item.question,
    }[how]
    paragraphs = host.split("\n\n")
    paragraphs.insert(rng.randint(1, len(paragraphs)), passage)
    return "\n\n".join(paragraphs)


def normalised(text: str) -> str:
    """Lower case without punctuation, single spaces."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def low_quality(kind: str, honest: str, rng: Random) -> str:
    """A document that published web rules drop: repeated_lines, lorem_ipsum, symbols, too_short or no_stop_words."""
    sentences = [sentence + "." for sentence in honest.replace("\n", " ").split(". ") if len(sentence) > 30]
    if kind == "repeated_lines":
        return "\n".join([rng.choice(sentences) for _ in range(3)] * rng.randint(8, 14))
    if kind == "lorem_ipsum":
        return "\n".join(" ".join(rng.choices(_LATIN, k=14)).capitalize() + "." for _ in range(rng.randint(8, 16)))
    if kind == "symbols":
        return "\n".join(
            "#" * rng.randint(3, 30) + " ... " + rng.choice(["|", "* ", "~~", "=="]) * 20 for _ in range(40)
        )
    if kind == "no_stop_words":
        names = [drug.name for drug in DRUGS] + [condition.name.replace(" and ", " ") for condition in CONDITIONS]
        return "\n".join(", ".join(rng.choices(names, k=9)) for _ in range(14))
    assert kind == "too_short"
    return rng.choice(sentences)


LOW_QUALITY = ("repeated_lines", "lorem_ipsum", "symbols", "too_short", "no_stop_words")


def tricky(form: str, rng: Random) -> str:
    """An honest document that a careless rule drops: a list, abbreviations, or results in short lines."""
    head, line = TRICKY[form]
    lines = []
    for condition in rng.sample(CONDITIONS, 12):
        drug = rng.choice(DRUGS_FOR[condition.name])
        slots = {"condition": condition.name, "specialty": condition.specialty, "symptom": condition.symptoms}
        results = {"test": condition.test, "result": condition.result}
        lines.append(Writer(rng, clinical.drug_slots(drug, rng) | slots | results).fill(line))
    return "\n".join([Writer(rng, {}).fill(head), *lines])


TRICKY = {
    "list": (
        "Discharge medication of a patient aged {24-88}, to be taken as listed:",
        "- {drug} {dose} for {condition}, check {monitor} in {2-12} weeks",
    ),
    "abbreviations": (
        "{24-88} y/o [M|F], NAD, A&O x3, hx of the below for {2-30} yrs.",
        "Pt c/o {symptom} x {2-9}/7, PMHx {condition}, Rx {drug} {dose}, BP {104-160}/{60-98}, HR {54-110}, "
        "f/u w/ {specialty} in {2-9}/52.",
    ),
    "short_lines": (
        "Results of the patient ([M|F], {24-88}) that have come in to date",
        "{test}: {result}[|; {monitor} normal|; {monitor} to be repeated]",
    ),
}
"""Form -> first line, and the template of the other lines."""
