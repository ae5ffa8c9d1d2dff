"""Benchmark items that ask for what the sample's documents tell, in words that the documents do not use."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from curate.sample.clinical_facts import CONDITIONS, DRUGS
from curate.sample.grammar import Writer
from curate.sample.words import JOBS, MEN, MONTHS, SURNAMES, WOMEN
from curate.sample.world import World

ITEMS = 120
"""Items in each benchmark."""

_MED_FACTS = [
    (
        "family",
        "[An examiner holds up|A student is handed|Printed on a flash card is] the name {drug}, [remembered|noted] "
        "[only|merely] as a remedy against {treats}. [To which pharmacological category would a textbook assign "
        "it|Under which heading of a pharmacology index would it be filed]?",
    ),
    (
        "treats",
        "[During an oral examination|On a revision quiz|In a game of medical trivia] the {family} {drug} [comes up|is "
        "drawn]. [Which complaint would justify writing a prescription for it|For whose sufferers was it chiefly "
        "developed]?",
    ),
    (
        "effect",
        "[A medication chart|A drug round|A handover sheet] [lists|names] {drug} against {treats}. [Which unwanted "
        "consequence ought the ward team to anticipate above the others|Which of these unwelcome reactions would "
        "surprise the team least]?",
    ),
]
_MED_VIGNETTES = (
    "[Picture|Imagine] a {age} year old {job} whose [weeks|days] are spoiled by {symptom} together with {symptom2}; "
    "the [clinician|trainee] then [discovers|finds] {sign}, while {risk} [emerges|comes to light] [from the record|in "
    "conversation]. [Which explanation deserves first place on the list|Which single disorder ties these clues "
    "together]?"
)
_WORLD_FACTS = [
    (
        "trade",
        "[A traveller|A merchant] [steps off|climbs down from] the [coach|train] at {town}, hoping to [meet|visit] "
        "its craftsmen. [Which livelihood would the traveller see behind most workshop doors|Which local craft gave "
        "the place its wealth]?",
    ),
    (
        "river",
        "[Suppose|Say] a paper boat were launched from the quay of {town} in {county}. [Whose waters would carry it "
        "away first|On which stream would it begin its voyage]?",
    ),
    (
        "sight",
        "[A postcard|A school poster|A tourist brochure] [announces|promises] the pride of {town}, [somewhere in|deep "
        "in] {county}. [What would the picture on it most likely show|Which curiosity must its artist have drawn]?",
    ),
]
_STORY_ENDINGS = (
    "{name} [promised|swore] to [collect|bring] {thing} from {place} before the shops shut on {day}, yet the {vehicle} "
    "broke down halfway and the [telephone|radio] stayed silent. [Knowing|Realising] that [nobody else|no other "
    "person] [would go|had a key], {name}"
)
_ENDINGS = [
    ("walked the remaining distance and came home after dark with {thing}.", True),
    ("decided that {thing} had never been a vegetable at all.", False),
    ("poured the {vehicle} into a teacup and drank it slowly.", False),
    ("painted the silence green so that {place} could swim.", False),
]


@dataclass(frozen=True)
class Item:
    """One item in the format of the public benchmarks' files."""

    id: str
    benchmark: str
    context: str
    question: str
    choices: list[str]
    answer: int
    answer_text: str
    meta: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """As written to bench/*.jsonl.gz."""
        return asdict(self)


def make_items(rng: Random, world: World) -> dict[str, list[Item]]:
    """Items of every benchmark; two clinical and two general ones."""
    makers = {
        "med_facts": _med_facts(rng),
        "med_vignettes": _med_vignettes(rng),
        "story_endings": _story_endings(rng, world),
        "world_facts": _world_facts(rng, world),
    }
    return {name: _numbered(name, maker, rng) for name, maker in makers.items()}


def _numbered(benchmark: str, made: Iterator[tuple[str, str, list[str], str]], rng: Random) -> list[Item]:
    items: list[Item] = []
    seen: set[str] = set()
    for subject, question, wrong, right in made:
        if question in seen:
            continue
        seen.add(question)
        choices = [right, *wrong]
        rng.shuffle(choices)
        place = choices.index(right)
        number = len(items)
        items.append(
            Item(
                f"{benchmark}-{number:03d}",
                benchmark,
                "",
                question,
                choices,
                place,
                right,
                {"subject": subject, "split": "test"},
            )
        )
        if len(items) == ITEMS:
            break
    return items


def _med_facts(rng: Random) -> Iterator[tuple[str, str, list[str], str]]:
    while True:
        drug = rng.choice(DRUGS)
        subject, template = rng.choice(_MED_FACTS)
        question = Writer(rng, {"drug": drug.name, "treats": drug.treats, "family": drug.family}).fill(template)
        if subject == "effect":
            right = rng.choice(drug.effects)
            others = sorted({effect for other in DRUGS for effect in other.effects} - set(drug.effects))
        else:
            right = getattr(drug, subject)
            others = sorted({getattr(other, subject) for other in DRUGS} - {right})
        yield subject, question, rng.sample(others, 3), right


def _med_vignettes(rng: Random) -> Iterator[tuple[str, str, list[str], str]]:
    while True:
        condition = rng.choice(CONDITIONS)
        first, second = rng.sample(condition.symptoms, 2) if len(condition.symptoms) > 1 else condition.symptoms * 2
        slots = {
            "age": str(rng.randint(24, 88)),
            "job": rng.choice(JOBS),
            "symptom": first,
            "symptom2": second,
            "sign": rng.choice(condition.signs),
            "risk": rng.choice(condition.risks),
        }
        others = sorted(
            {other.name for other in CONDITIONS if not set(other.symptoms) & {first, second}} - {condition.name}
        )
        yield condition.specialty, Writer(rng, slots).fill(_MED_VIGNETTES), rng.sample(others, 3), condition.name


def _world_facts(rng: Random, world: World) -> Iterator[tuple[str, str, list[str], str]]:
    while True:
        town = rng.choice(world.towns)
        subject, template = rng.choice(_WORLD_FACTS)
        right = getattr(town, subject)
        others = sorted({getattr(other, subject) for other in world.towns} - {right})
        question = Writer(rng, {"town": town.name, "county": town.county}).fill(template)
        yield subject, question, rng.sample(others, 3), right


def _story_endings(rng: Random, world: World) -> Iterator[tuple[str, str, list[str], str]]:
    things = [
        "the wedding cake",
        "a crate of lamps",
        "the mended cello",
        "two sacks of flour",
        "her uncle's medals",
        "the school bell",
    ]
    vehicles = ["van", "tram", "motorcycle", "mail cart", "ferry", "tractor"]
    while True:
        slots = {
            "name": f"{rng.choice(WOMEN + MEN)} {rng.choice(SURNAMES)}",
            "thing": rng.choice(things),
            "place": rng.choice(world.towns).name,
            "vehicle": rng.choice(vehicles),
            "day": f"the {rng.randint(2, 28)}th of {rng.choice(MONTHS)}",
        }
        writer = Writer(rng, slots)
        endings = [writer.fill(ending) for ending, _ in _ENDINGS]
        endings = [ending[0].lower() + ending[1:] for ending in endings]
        right = next(ending for ending, (_, is_right) in zip(endings, _ENDINGS, strict=True) if is_right)
        yield "everyday life", writer.fill(_STORY_ENDINGS), [ending for ending in endings if ending != right], right
