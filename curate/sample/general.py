"""General documents: an encyclopedia of an invented country, stories set in it, and a household handbook."""

from collections.abc import Iterator
from random import Random

from curate.sample.general_templates import ANIMAL, PERSON, STORY, TOWN
from curate.sample.grammar import Writer
from curate.sample.handbook import ADVICE, TASKS
from curate.sample.words import DAYS, HOBBIES, JOBS, MEN, MONTHS, NUMBERS, SURNAMES, WOMEN
from curate.sample.world import Animal, Person, Town, World

Slots = dict[str, str | list[str]]


def encyclopedia(rng: Random, world: World) -> Iterator[str]:
    """Entries of 120 to 350 words on a town, a person or an animal, in two or three paragraphs."""
    while True:
        kind = rng.random()
        if kind < 0.45:
            templates, slots = TOWN, _town(rng, rng.choice(world.towns), world)
        elif kind < 0.8:
            templates, slots = PERSON, _person(rng, rng.choice(world.persons), world)
        else:
            templates, slots = ANIMAL, _animal(rng, rng.choice(world.animals), world)
        writer = Writer(rng, slots | _common())
        yield "\n\n".join(writer.some(name, part, 3, 6) for name, part in templates.items())


def stories(rng: Random, world: World) -> Iterator[str]:
    """Stories of 190 to 300 words; every sixteenth has six or seven chapters with entries between, some 3,000 words."""
    count = 0
    entries = encyclopedia(rng, world)
    while True:
        count += 1
        writer = Writer(rng, _common())
        parts: list[str] = []
        for _ in range(rng.randint(6, 7) if count % 16 == 0 else 1):
            if parts:
                parts.append(next(entries))
            writer.slots |= _cast(rng, world)
            parts += [writer.some(name, part, 3, 5) for name, part in STORY.items()]
        yield "\n\n".join(parts)


def handbook(rng: Random, world: World) -> Iterator[str]:
    """Two household tasks with their steps and advice, 180 to 350 words."""
    while True:
        paragraphs = []
        for name in rng.sample(sorted(TASKS), 2):
            tools, steps = TASKS[name]
            town = rng.choice(world.towns)
            writer = Writer(rng, _common() | {"task": name, "tool": tools, "town": town.name, "trade": town.trade})
            paragraphs.append(writer.some("before", ADVICE["before"], 2, 3))
            paragraphs.append(writer.some("steps", steps, len(steps) - 4, len(steps) - 2))
            paragraphs.append(writer.some("after", ADVICE["after"], 1, 3))
        yield "\n\n".join(paragraphs)


def _town(rng: Random, town: Town, world: World) -> Slots:
    near = rng.sample([other for other in world.towns if other.county == town.county and other is not town], 2)
    return {
        "town": town.name,
        "county": town.county,
        "river": town.river,
        "founded": str(town.founded),
        "people": f"{town.people:,}",
        "trade": town.trade,
        "sight": town.sight,
        "festival": town.festival,
        "near": [other.name for other in near],
        "near_trade": near[0].trade,
        "animal": [animal.name for animal in rng.sample(world.animals, 3)],
        "person": _names(rng, world, 3),
        "year": [str(rng.randint(town.founded + 20, 2015)) for _ in range(5)],
    }


def _person(rng: Random, person: Person, world: World) -> Slots:
    return {
        "name": person.name,
        "last": person.name.split()[1],
        "he": person.he,
        "his": person.his,
        "calling": person.calling,
        "born": str(person.born),
        "died": str(person.died),
        "town": person.town.name,
        "county": person.town.county,
        "trade": person.town.trade,
        "work": person.work,
        "near": [town.name for town in rng.sample(world.towns, 4)],
        "person": _names(rng, world, 4),
        "year": [str(rng.randint(person.born + 18, person.died)) for _ in range(5)],
    }


def _animal(rng: Random, animal: Animal, world: World) -> Slots:
    return {
        "animal": animal.name,
        "length": str(animal.length),
        "food": animal.food,
        "home": animal.home,
        "young": str(animal.young),
        "born": animal.month,
        "other": [other.name for other in rng.sample(world.animals, 4)],
        "town": [town.name for town in rng.sample(world.towns, 4)],
        "person": _names(rng, world, 3),
        "year": [str(rng.randint(1740, 2020)) for _ in range(4)],
    }


def _cast(rng: Random, world: World) -> Slots:
    woman = rng.random() < 0.5
    town = rng.choice(world.towns)
    return {
        "hero": rng.choice(WOMEN if woman else MEN),
        "he": "she" if woman else "he",
        "his": "her" if woman else "his",
        "him": "her" if woman else "him",
        "friend": rng.choice(MEN if woman else WOMEN),
        "elder": rng.choice(["Mrs ", "Mr ", "old ", "Captain ", "Aunt ", "Doctor "]) + rng.choice(SURNAMES),
        "town": town.name,
        "river": town.river,
        "sight": town.sight.partition(" ")[2],
        "trade": town.trade,
        "near": [other.name for other in rng.sample(world.towns, 3)],
        "animal": [animal.name for animal in rng.sample(world.animals, 3)],
    }


def _names(rng: Random, world: World, count: int) -> list[str]:
    return [f"the {person.calling} {person.name}" for person in rng.sample(world.persons, count)]


def _common() -> Slots:
    return {"month": MONTHS, "day": DAYS, "number": NUMBERS, "hobby": HOBBIES, "job": JOBS}
