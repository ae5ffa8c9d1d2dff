"""Clinical documents: notes, abstracts, guidelines and patients' questions, all telling the same facts."""

from collections.abc import Iterator
from random import Random

from curate.sample.clinical_facts import CONDITIONS, DRUGS_FOR, Condition, Drug
from curate.sample.clinical_templates import ABSTRACT, GUIDELINE, GUIDELINE_DRUG, NOTE, QUESTIONS
from curate.sample.grammar import Writer
from curate.sample.words import DAYS, HOBBIES, JOBS, MEN, MONTHS, NUMBERS, SMALL_TALK, SURNAMES, WOMEN

Slots = dict[str, str | list[str]]


def notes(rng: Random) -> Iterator[str]:
    """Visit notes of 150 to 450 words, a paragraph a section."""
    while True:
        condition = rng.choice(CONDITIONS)
        writer = Writer(rng, _patient(rng) | _facts(rng, condition) | _common())
        yield "\n\n".join(_section(writer, name, part) for name, part in NOTE.items() if rng.random() < part[0])


def abstracts(rng: Random) -> Iterator[str]:
    """Trial and cohort abstracts of 150 to 300 words: a title, then one paragraph a section."""
    while True:
        condition = rng.choice(CONDITIONS)
        writer = Writer(rng, _trial(rng) | _facts(rng, condition) | _common())
        yield "\n".join(_section(writer, name, part) for name, part in ABSTRACT.items() if rng.random() < part[0])


def guidelines(rng: Random) -> Iterator[str]:
    """Guidance on one condition (300 to 700 words); every eighth is a chapter on six or seven, some 2,000 words."""
    count = 0
    while True:
        count += 1
        conditions = rng.sample(CONDITIONS, rng.randint(6, 7)) if count % 8 == 0 else [rng.choice(CONDITIONS)]
        yield "\n\n".join(_guideline(rng, condition) for condition in conditions)


def patient_qa(rng: Random) -> Iterator[str]:
    """Two to four questions of a lay person, each with its answer."""
    while True:
        condition = rng.choice(CONDITIONS)
        writer = Writer(rng, _patient(rng) | _facts(rng, condition) | _common())
        kinds = rng.sample(sorted(QUESTIONS), rng.randint(2, 4))
        answers = []
        for kind in kinds:
            asked, told, low, high = QUESTIONS[kind]
            answers.append(f"{writer.fill(writer.draw(kind + ' asked', asked))}\n{writer.some(kind, told, low, high)}")
        yield "\n\n".join(answers)


def drug_slots(drug: Drug, rng: Random) -> Slots:
    """What templates may say of a drug."""
    return {
        "drug": drug.name,
        "family": drug.family,
        "low": drug.low,
        "high": drug.high,
        "unit": drug.unit,
        "frequency": drug.unit.partition(" ")[2],
        "effect": list(drug.effects),
        "monitor": drug.monitor,
        "dose": rng.choice([drug.low, drug.high]) + " " + drug.unit,
    }


def _section(writer: Writer, name: str, part: tuple[float, list[str], int, int]) -> str:
    _, templates, low, high = part
    text = writer.some(name, templates, low, high)
    return text if name.startswith("_") else f"{name}: {text}"


def _guideline(rng: Random, condition: Condition) -> str:
    writer = Writer(rng, _facts(rng, condition) | _common())
    parts = []
    for name, part in GUIDELINE.items():
        parts.append(_section(writer, name, part))
        if name == "Treatment":
            for drug in DRUGS_FOR[condition.name]:
                writer.slots.update(drug_slots(drug, rng))
                parts.append(writer.some("drug", GUIDELINE_DRUG, 3, 5))
    return "\n\n".join(parts)


def _facts(rng: Random, condition: Condition) -> Slots:
    drugs = DRUGS_FOR[condition.name]
    drug = rng.choice(drugs)
    other_condition = rng.choice([other for other in CONDITIONS if other is not condition])
    other = rng.choice(DRUGS_FOR[other_condition.name])
    return drug_slots(drug, rng) | {
        "condition": condition.name,
        "specialty": condition.specialty,
        "symptom": condition.symptoms,
        "sign": condition.signs,
        "test": condition.test,
        "result": condition.result,
        "risk": condition.risks,
        "advice": condition.advice,
        "complication": condition.complications,
        "other_condition": other_condition.name,
        "other_drug": other.name,
        "other_family": other.family,
        "other_dose": f"{other.low} {other.unit}",
    }


def _patient(rng: Random) -> Slots:
    woman = rng.random() < 0.5
    return {
        "title": "Ms" if woman else "Mr",
        "first": rng.choice(WOMEN if woman else MEN),
        "surname": rng.choice(SURNAMES),
        "he": "she" if woman else "he",
        "his": "her" if woman else "his",
        "him": "her" if woman else "him",
        "man": "woman" if woman else "man",
        "age": str(rng.randint(24, 88)),
        "job": rng.choice(JOBS),
        "partner": rng.choice(
            ["husband", "sister", "daughter", "neighbor"] if woman else ["wife", "brother", "son", "friend"]
        ),
        "doctor": rng.choice(SURNAMES),
    }


def _trial(rng: Random) -> Slots:
    treated = rng.randint(60, 900)
    return {
        "treated": str(treated),
        "controls": str(treated + rng.randint(-12, 12)),
        "center": rng.choice(SURNAMES)
        + rng.choice([" Infirmary", " General Hospital", " Clinic", " Research Center", " Institute"]),
        "author": SURNAMES,
        "year": str(rng.randint(1998, 2024)),
        "percent": str(rng.randint(21, 68)),
        "fewer": str(rng.randint(8, 20)),
        "p": f"0.{rng.randint(1, 49):03d}",
        "hazard": f"0.{rng.randint(48, 93)}",
        "interval": f"0.{rng.randint(31, 47)} to 0.{rng.randint(94, 99)}",
        "weeks": str(rng.choice([6, 8, 12, 16, 24, 26, 36, 48, 52, 78, 104])),
    }


def _common() -> Slots:
    return {"month": MONTHS, "day": DAYS, "number": NUMBERS, "hobby": HOBBIES, "since": SMALL_TALK}
