"""An invented country that the general documents agree on: towns, rivers, people, animals."""

from dataclasses import dataclass
from random import Random

from curate.sample.words import MEN, MONTHS, SURNAMES, WOMEN

_STARTS = (
    "Alder Brack Cal Dun Elm Fair Gors Hart Ivel Kes Lang Mar Nor Oster Pen Quar Rav Sel Thorn Ulver Wex Yar".split()
)
_ENDS = "ford bury wick ton mouth ham stead haven ley combe".split()
_RIVERS = (
    "Arl Bent Corrow Dass Esker Fenwater Gale Harrow Isk Kell Lodden Merrin Nidd Orr Pell Rushen Sabel Tarn".split()
)
_COUNTIES = "Ashmere Boreland Corvale Dunmark Eastholm Fenshire Gravenland Highmoor".split()
_TRADES = (
    "wool weaving;salt making;slate quarrying;boat building;cheese making;glass blowing;paper milling;clock "
    "making;herring fishing;tin mining;hop growing;rope making;brick firing;lace making;cider pressing;bell founding"
).split(";")
_SIGHTS = (
    "a leaning clock tower;an octagonal chapel;a covered stone bridge;a ruined priory;a tidal mill;a walled garden;a "
    "brick water tower;a painted guildhall;a lighthouse without a lamp;a market cross;a canal staircase;a hill fort;a "
    "whalebone arch;a wooden theater"
).split(";")
_WORKS = (
    "a treatise on tides;the first local map;a cycle of winter songs;a reaping machine;an observatory on the moor;a "
    "dictionary of dialect;a school for weavers;a method of grafting pears;the great aqueduct;a long poem about the "
    "river;a fund for widows;a study of lichens;an opera on the flood;a folding telescope;a set of tide tables;a "
    "history of the guilds"
).split(";")
_CALLINGS = (
    "engineer;painter;botanist;composer;printer;astronomer;poet;architect;surveyor;physician;navigator;weaver".split(
        ";"
    )
)
_KINDS = "otter;heron;hare;toad;moth;owl;newt;vole;finch;crab;eel;beetle;marten;tern".split(";")
_COATS = "banded;crested;fen;moor;pale;river;russet;salt;spotted;stone".split(";")
_FOODS = (
    "snails;willow bark;beetles;small fish;grass seed;earthworms;mosses;berries;spiders;water plants;crickets;pond weed"
).split(";")
_HOMES = (
    "reed beds;old stone walls;hollow oaks;shingle banks;peat pools;hay meadows;sea caves;heather slopes;hedge "
    "bottoms;alder woods"
).split(";")


@dataclass(frozen=True)
class Town:
    """A town and what every document says of it."""

    name: str
    county: str
    river: str
    founded: int
    people: int
    trade: str
    sight: str
    festival: str
    """Month of its fair."""


@dataclass(frozen=True)
class Person:
    """Somebody of note."""

    name: str
    he: str
    his: str
    calling: str
    born: int
    died: int
    town: Town
    work: str


@dataclass(frozen=True)
class Animal:
    """An invented animal."""

    name: str
    length: int
    """cm"""
    food: str
    home: str
    young: int
    month: str


@dataclass(frozen=True)
class World:
    """All of it."""

    towns: list[Town]
    persons: list[Person]
    animals: list[Animal]


def make_world(rng: Random) -> World:
    """The country that belongs to a random stream."""
    names = [start + end for start in _STARTS for end in _ENDS]
    towns = [
        Town(
            name,
            rng.choice(_COUNTIES),
            rng.choice(_RIVERS),
            rng.randint(870, 1790),
            rng.randint(8, 960) * 100,
            rng.choice(_TRADES),
            rng.choice(_SIGHTS),
            rng.choice(MONTHS),
        )
        for name in rng.sample(names, 90)
    ]
    return World(towns, [_person(rng, towns) for _ in range(80)], _animals(rng))


def _person(rng: Random, towns: list[Town]) -> Person:
    woman = rng.random() < 0.5
    born = rng.randint(1610, 1905)
    return Person(
        f"{rng.choice(WOMEN if woman else MEN)} {rng.choice(SURNAMES)}",
        "she" if woman else "he",
        "her" if woman else "his",
        rng.choice(_CALLINGS),
        born,
        born + rng.randint(41, 90),
        rng.choice(towns),
        rng.choice(_WORKS),
    )


def _animals(rng: Random) -> list[Animal]:
    names = [f"{coat} {kind}" for coat in _COATS for kind in _KINDS]
    return [
        Animal(
            name,
            rng.randint(3, 90),
            rng.choice(_FOODS),
            rng.choice(_HOMES),
            rng.randint(2, 14),
            rng.choice(MONTHS[2:8]),
        )
        for name in rng.sample(names, 60)
    ]
