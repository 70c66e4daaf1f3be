"""Numbers with their units, as a claim and its evidence must share them: "10 minutes" is not "10 hours"."""

import re
from dataclasses import dataclass

_UNIT_SPELLINGS = """
second s sec secs seconds|minute min mins minutes|hour h hr hrs hours|day d days|week weeks|month months
year years|mm millimetre millimetres millimeter millimeters|cm centimetre centimetres centimeter centimeters
m metre metres meter meters|km kilometre kilometres kilometer kilometers|mile miles|foot feet ft|inch inches
ha hectare hectares|mg milligram milligrams|g gram grams|kg kilo kilos kilogram kilograms
t tonne tonnes ton tons|ml millilitre millilitres milliliter milliliters|cl centilitre centilitres
l litre litres liter liters|hl hectolitre hectolitres|ppm|percent per_cent %|degree degrees °|°c celsius|°f fahrenheit
bar bars|kpa|hpa|pa|w watt watts|kw kilowatt kilowatts|kwh|v volt volts|a amp amps|hz|rpm|ntu
euro euros € eur|dollar dollars $ usd|pound pounds £ gbp|million|billion|thousand|hundred|dozen
g/l|mg/l|g/hl|ml/l|kg/ha|hl/ha|l/ha|time times|berries berry|vine vines|bottle bottles|barrel barrels|person people
persons|pages page|fold"""
_UNITS = {
    spelling: group.split()[0] for group in _UNIT_SPELLINGS.replace("\n", "|").split("|") for spelling in group.split()
}
_TWO_TO_TWENTY = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
)
_WORDS = {word: str(value) for value, word in enumerate(_TWO_TO_TWENTY.split(), start=2)} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
}
_FIGURE = r"\d+(?:[.,]\d+)*"
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_QUANTITY = re.compile(
    rf"(?<![^\W_])(?P<before>[€$£])?\s?(?P<number>[-\u2212]?{_FIGURE}|(?:{'|'.join(_WORDS)}|one|half|zero)\b)"
    r"\s?(?P<unit>%|°\s?[CF]?\b|°|€|\$|£|[a-zA-Zµ]+(?:/[a-zA-Z]+)?)?",
    re.I,
)
_RANGE = re.compile(r"\s*(?:to|and|or|[-\u2013\u2014/])\s*\Z", re.I)


@dataclass(frozen=True)
class Quantity:
    """A number as digits, its unit (None: without one that is known), and where it stands in its text."""

    number: str
    unit: str | None
    start: int
    end: int


def quantities(text: str) -> list[Quantity]:
    """Every number of `text`; in "10 to 15 minutes" both are minutes."""
    found: list[Quantity] = []
    for match in _QUANTITY.finditer(text):
        unit = _unit(match["unit"]) or _unit(match["before"])
        number = _digits(match["number"])
        if number in ("one", "half", "zero") and unit is None:
            continue  # "one" is a pronoun more often than a number
        number = {"one": "1", "half": "0.5", "zero": "0"}.get(number, number)
        # What is no unit is not part of the number: it may be a number itself.
        end = match.end("unit") if unit and match["unit"] else match.end("number")
        found.append(Quantity(number, unit, match.start("number"), end))
    for at in range(len(found) - 2, -1, -1):
        first, second = found[at], found[at + 1]
        if first.unit is None and second.unit and _RANGE.match(text[first.end : second.start]):
            found[at] = Quantity(first.number, second.unit, first.start, first.end)
    return found


def contained(claim: str, evidence: str, around: str = "") -> bool:
    """Whether the evidence has every number of the claim, with the same unit.

    A number that stands alone there, as in a table, may have its unit elsewhere in the evidence or in `around`.
    """
    have: dict[str, set[str | None]] = {}
    for quantity in quantities(evidence):
        have.setdefault(quantity.number, set()).add(quantity.unit)
    anywhere = {_unit(word) for word in re.findall(r"[^\W\d_]+(?:/[^\W\d_]+)?|[%°€$£]", f"{around} {evidence}")}
    for quantity in quantities(claim):
        units = have.get(quantity.number)
        if units is None:
            return False
        bare = None in units and quantity.unit in anywhere
        if quantity.unit is not None and quantity.unit not in units and not bare:
            return False
    return True


def _digits(number: str) -> str:
    number = number.casefold().replace("\u2212", "-")
    number = number.replace(",", "") if _GROUPED.fullmatch(number) else number
    return _WORDS.get(number, number)


def _unit(word: str | None) -> str | None:
    return _UNITS.get(re.sub(r"\s", "", word).casefold()) if word else None
