# ruff: noqa: E501
"""What people give to a tool: quantities with their units, and things that have names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from toolgain.demo_model.scraps import any_word, code, proper_name
from toolgain.demo_model.values import Said
from toolgain.tasks.generated import words


@dataclass(frozen=True)
class Told:
    """A parameter's words, JSON type and description; the phrases that mention it; its values."""

    words: tuple[str, ...]
    type: str
    about: str
    said: tuple[str, ...]
    draw: Callable[[Random], Said]


UNITS: dict[str, tuple[tuple[str, str], ...]] = {
    # kind: (unit in descriptions, forms in questions divided by "|")
    "mass": (("kilograms", "{n} kg|{n}kg|{n} kilograms"), ("grams", "{n} g|{n}g|{n} grams"), ("pounds", "{n} pounds|{n} lbs|{n} pound")),
    "length": (("meters", "{n} m|{n}m|{n} meters|{n} metres"), ("centimeters", "{n} cm|{n}cm|{n} centimeters"), ("feet", "{n} feet|{n} ft"),
               ("kilometers", "{n} km|{n}km|{n} kilometers"), ("miles", "{n} miles"), ("inches", "{n} inches|{n} inch"), ("units", "{n} units|{n}")),
    "area": (("square meters", "{n} square meters|{n} m^2"), ("square feet", "{n} square feet|{n} sq ft"), ("acres", "{n} acres")),
    "volume": (("liters", "{n} liters|{n} L|{n}L"), ("cubic meters", "{n} cubic meters|{n} m^3"), ("milliliters", "{n} ml|{n}ml")),
    "time": (("seconds", "{n} seconds|{n} s|{n}s"), ("minutes", "{n} minutes|{n} min"), ("hours", "{n} hours"), ("days", "{n} days"),
             ("weeks", "{n} weeks"), ("months", "{n} months"), ("years", "{n} years|{n}-year")),
    "speed": (("m/s", "{n} m/s|{n}m/s|{n} meters per second"), ("km/h", "{n} km/h|{n} kilometers per hour"), ("mph", "{n} mph|{n} miles per hour")),
    "acceleration": (("m/s^2", "{n} m/s^2|{n}m/s^2|{n} meters per second squared"),),
    "temperature": (("Celsius", "{n} degrees Celsius|{n}°C|{n} Celsius|{n}C"), ("Kelvin", "{n} K|{n}K|{n} Kelvin"), ("Fahrenheit", "{n} degrees Fahrenheit|{n}F")),
    "pressure": (("Pascal", "{n} Pa|{n} Pascal|{n}Pa"), ("atm", "{n} atm|{n} atmospheres")),
    "density": (("kg/m^3", "{n} kg/m^3|{n} kg per cubic meter"),),
    "charge": (("Coulombs", "{n} C|{n}C|{n} Coulombs"),),
    "electric": (("volts", "{n} volts|{n}V|{n} V"), ("amperes", "{n} A|{n}A|{n} amperes"), ("ohms", "{n} ohms|{n} ohm")),
    "energy": (("Joules", "{n} J|{n}J|{n} Joules"), ("kWh", "{n} kWh|{n}kWh"), ("calories", "{n} calories|{n} kcal")),
    "frequency": (("Hertz", "{n} Hz|{n}Hz|{n} Hertz"),),
    "force": (("Newtons", "{n} N|{n}N|{n} Newtons"),),
    "angle": (("degrees", "{n} degrees|{n}°"), ("radians", "{n} radians")),
    "money": (("dollars", "${n}|{n} dollars|{n} USD|${n}"), ("USD", "${n}|{n} dollars"), ("euros", "{n} euros|{n} EUR|€{n}")),
    "moles": (("moles", "{n} moles|{n} mol"),),
    "count": (("", "{n}"),),
    "percent": (("percent", "{n}%|{n} percent"),),
}  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """Words of a quantity, the kind of its unit, its JSON types, its own phrases."""

    words: tuple[str, ...]
    unit: str
    types: tuple[str, ...]
    said: tuple[str, ...]


def _quantity(line: str) -> Quantity:
    name, unit, types, said = (part.strip() for part in line.split("|"))
    return Quantity(
        tuple(name.split()), unit, tuple(types.split()), tuple(said.split("/")) if said else ()
    )


QUANTITIES = tuple(
    _quantity(line)
    for line in """
mass | mass | number integer | weighing {v}/with a mass of {v}/that weighs {v}
weight | mass | number integer | weighing {v}/and a weight of {v}/who weighs {v}
length | length | number integer | {v} long/with a length of {v}
width | length | number integer | {v} wide/with a width of {v}
height | length | number integer | {v} tall/{v} high/from a height of {v}
depth | length | number integer | {v} deep/at a depth of {v}
radius | length | number integer | with a radius of {v}/of radius {v}
diameter | length | number integer | with diameter {v}/{v} across
base | length | integer number | with base {v}/a base of {v}
side length | length | integer number | with sides of {v}/with side length {v}
distance | length | number integer | {v} away/over a distance of {v}/covering {v}/placed {v} apart
thickness | length | number | {v} thick
initial height | length | number integer | from {v}/dropped from {v}
displacement | length | number integer | moved by {v}
area | area | number integer | covering {v}/with an area of {v}
size | area | integer number | of {v}/with {v}
volume | volume | number integer | with a volume of {v}/holding {v}
capacity | volume | integer number | with a capacity of {v}/that holds {v}
time | time | integer number | after {v}/in {v}/for {v}/for a duration of {v}
duration | time | integer number | for {v}/lasting {v}/over {v}
period | time | integer | over {v}/for a period of {v}/every {v}
age | time | integer | aged {v}/{v} old
days | time | integer | for the next {v}/for {v}/within {v}
term | time | integer | over {v}/for a term of {v}/in {v}
prep time | time | integer | in under {v}/that takes less than {v}
speed | speed | number integer | at {v}/moving at {v}/with a speed of {v}
velocity | speed | number integer | at {v}/with a velocity of {v}/moving at {v}
initial velocity | speed | number integer | starting at {v}/thrown at {v}/with an initial velocity of {v}
final velocity | speed | number integer | reaching {v}/until it moves at {v}
acceleration | acceleration | number integer | accelerating at {v}/with an acceleration of {v}
gravity | acceleration | number | where gravity is {v}
temperature | temperature | number integer | at {v}/heated to {v}/at a temperature of {v}
initial temperature | temperature | number integer | from {v}/starting at {v}
pressure | pressure | number integer | at {v}/under a pressure of {v}
density | density | number integer | with a density of {v}
charge | charge | number integer | of {v}/carrying {v}/with a charge of {v}
voltage | electric | number integer | at {v}/with {v}/connected to {v}
current | electric | number integer | carrying {v}/with a current of {v}
resistance | electric | number integer | with a resistance of {v}/of {v}
energy | energy | number integer | using {v}/with an energy of {v}
calories | energy | integer | with less than {v}/under {v}/burning {v}
frequency | frequency | integer number | at {v}/of {v}/with a frequency of {v}
force | force | number integer | with a force of {v}/pushed with {v}
angle | angle | integer number | at an angle of {v}/turned by {v}/of {v}
amount | money | number integer | of {v}/for {v}/worth {v}
price | money | number integer | for {v}/costing {v}/at a price of {v}
budget | money | integer number | with a budget of {v}/under {v}/below {v}
max price | money | integer number | under {v}/for at most {v}/below {v}
income | money | integer number | earning {v}/with an income of {v}
salary | money | integer number | earning {v}/with a salary of {v}
principal | money | integer number | of {v}/on {v}/with a principal of {v}
investment amount | money | integer number | of {v}/if I invest {v}/for an investment of {v}
initial investment | money | integer number | of {v}/starting with {v}/with an initial investment of {v}
loan amount | money | integer number | on a loan of {v}/for a {v} loan/borrowing {v}
monthly payment | money | integer number | paying {v} a month/with {v} each month
revenue | money | integer number | with a revenue of {v}
cost | money | integer number | that costs {v}/costing {v}
future value | money | integer number | to have {v}/that will be worth {v}
property value | money | integer number | on a property worth {v}/worth {v}
interest rate | percent | number | at {v}/at {v} interest/with an interest rate of {v}/with {v} interest
annual rate | percent | number | at {v} a year/with an annual rate of {v}
growth rate | percent | number | growing at {v}/growing {v} a year/with a growth rate of {v}
tax rate | percent | number | taxed at {v}/with {v} tax/with a tax rate of {v}
discount | percent | number integer | with {v} off/at a discount of {v}/with a {v} discount
humidity | percent | number integer | at {v} humidity/with a humidity of {v}
efficiency | percent | number | at {v} efficiency/with an efficiency of {v}
probability | count | number | with a probability of {v}/where the probability is {v}
moles | moles | integer number | of {v}/with {v}
population | count | integer | with a population of {v}/of {v} people/starting from {v}
quantity | count | integer | {v} of them/a quantity of {v}
number of people | count | integer | for {v} people/for a group of {v}/for {v} guests
guests | count | integer | for {v} guests/for {v}/with {v} guests
rooms | count | integer | with {v} rooms/{v} rooms
bedrooms | count | integer | with {v} bedrooms/having {v} bedrooms
servings | count | integer | for {v} servings/for {v} people/that serves {v}
adults | count | integer | for {v} adults/{v} adults
trials | count | integer | in {v} trials/over {v} trials/{v} times
successes | count | integer | getting {v} successes/with {v} successes
sides | count | integer | with {v} sides/{v}-sided
sample size | count | integer | with a sample of {v}/and a sample size of {v}
mean | count | number integer | with a mean of {v}/where the mean is {v}
rating | count | number | rated {v}/with at least {v} stars/with a rating of {v}
score | count | integer number | with a score of {v}/scoring {v}
rank | count | integer | ranked {v}/at rank {v}
top | count | integer | the top {v}/the best {v}/the first {v}
episodes | count | integer | with {v} episodes/{v} episodes
generations | count | integer | over {v} generations/after {v} generations
coefficient | count | number integer | with a coefficient of {v}
exponent | count | integer | to the power of {v}/raised to {v}
decimal places | count | integer | to {v} decimal places/rounded to {v} places
precision | count | integer | to {v} places/with a precision of {v}
lower limit | count | integer number | from {v}/between {v}
upper limit | count | integer number | to {v}/up to {v}/and {v}
start year | count | integer | from {v}/since {v}/starting in {v}
end year | count | integer | to {v}/until {v}/ending in {v}
season year | count | integer | in the {v} season/for {v}/of the {v} season
zip code | count | integer | in the zip code {v}/for {v}
""".strip().splitlines()
)
_ROLES = ("", "", "", "", "", "", "total", "first", "second", "initial", "final", "current", "max", "min", "average", "target")  # fmt: skip


def make_quantity(rng: Random) -> Told:
    """A quantity in one unit; a percentage is a number of percent, or a part of one."""
    quantity = rng.choice(QUANTITIES)
    unit, forms = rng.choice(UNITS[quantity.unit])
    kind = rng.choice(quantity.types)
    role = rng.choice(_ROLES) if len(quantity.words) == 1 else ""
    parts = tuple(word for word in (role, *quantity.words) if word)
    text = " ".join(parts)
    as_part = quantity.unit == "percent" and kind == "number" and rng.random() < 0.5
    about = rng.choice(
        (f"The {text}", f"{text.capitalize()}", f"The {text} of the {any_word(rng)}", f"{text.capitalize()} of the {any_word(rng)}", f"Value of the {text}")
    )  # fmt: skip
    if as_part:
        about += rng.choice((" as a decimal", " (as a decimal, e.g. 0.05 for 5%)", ", a decimal"))
    elif unit and rng.random() < 0.8:
        about += f" in {unit}"
    choices = forms.split("|")
    year = parts[-1] == "year"

    def draw(rng: Random) -> Said:
        value = _amount(rng, kind, quantity.unit, year)
        written = str(value)
        if isinstance(value, int) and value >= 1000 and not year and rng.random() < 0.4:
            written = f"{value:,}"
        if quantity.unit == "count" and value in range(2, 11) and rng.random() < 0.2:
            written = words.NUMBER_WORDS[int(value)]
        if unit and rng.random() < 0.8:
            return value, rng.choice(choices).replace("{n}", written)
        return value, written

    said = (
        *quantity.said,
        *(form.replace("{n}", text) for form in ("with {n} {v}", "with a {n} of {v}", "a {n} of {v}", "if the {n} is {v}", "and {n} {v}", "whose {n} is {v}", "given a {n} of {v}", "the {n} is {v}")),
    )  # fmt: skip
    return Told(parts, kind, about, said, _part_of_one if as_part else draw)


def _part_of_one(rng: Random) -> Said:
    percent = rng.choice((rng.randint(1, 40), rng.randint(1, 12), rng.randint(1, 24) / 2))
    value = round(percent / 100, 4)
    if rng.random() < 0.35:
        return value, str(value)
    return value, f"{percent:g}" + rng.choice(("%", "%", " percent"))


def _amount(rng: Random, kind: str, unit: str, year: bool) -> float:
    if year:
        return rng.randint(1900, 2030)
    if unit == "money":
        whole = rng.choice((rng.randint(1, 99) * 10, rng.randint(1, 99) * 1000, rng.randint(1, 200) * 100, rng.randint(5, 500)))  # fmt: skip
        return (
            whole if kind == "integer" or rng.random() < 0.7 else whole + rng.randint(1, 99) / 100
        )
    whole = rng.choice((rng.randint(1, 10), rng.randint(1, 20), rng.randint(2, 100), rng.randint(1, 20) * 10, rng.randint(100, 2000)))  # fmt: skip
    if kind == "integer" or rng.random() < 0.5:
        return whole
    return (
        round(rng.choice((rng.random() * 10, rng.random(), rng.random() * 100)), rng.choice((1, 2)))
        or 0.5
    )


_NAMED_THINGS = tuple(
    tuple(part.strip() for part in line.split("|"))
    for line in """
museum name | name | at the {v}/of the {v}/in {v}
event name | event | of the {v}/for {v}/at the {v}
artist | name | by {v}/of {v}/from {v}/made by {v}
artist name | name | by {v}/of {v}
author | name | by {v}/written by {v}/from {v}
director | name | directed by {v}/by {v}
cast | name | with {v} in it/starring {v}/acted by {v}
composer | name | by {v}/composed by {v}
song | title | called {v}/'{v}'/the song {v}
album | title | from the album {v}/on {v}
book title | title | called {v}/'{v}'/the book {v}/of {v}
movie | title | called {v}/'{v}'/the movie {v}
game | title | {v}/in {v}/of the game {v}/for {v}
platform | name | on {v}/for {v}
player name | name | of {v}/for {v}/by {v}
team | name | of {v}/for {v}/of the {v} team
team name | name | of the {v}/for {v}
opponent | name | against {v}/versus {v}
league | name | in the {v}/of the {v}/in {v}
sport | noun | in {v}/for {v}
season | noun | in the {v}/for the {v} season
restaurant | name | at {v}/from {v}/called {v}
restaurant name | name | at {v}/from {v}
hotel name | name | at the {v}/at {v}/in the {v} hotel
airline | name | with {v}/on {v}
location | place | in {v}/near {v}/at {v}/around {v}/located in {v}
city | place | in {v}/for {v}/of {v}
state | place | in {v}/of {v}/in the state of {v}
country | place | in {v}/of {v}/for {v}
region | place | in {v}/across {v}
departure location | place | from {v}/leaving {v}/departing from {v}
start location | place | from {v}/starting at {v}
end location | place | to {v}/ending at {v}
destination | place | to {v}/going to {v}
province | place | in {v}/in the province of {v}
park name | name | in {v}/at {v}
school | name | at {v}/from {v}
university | name | at {v}/from {v}
company | name | of {v}/for {v}/from {v}/by {v}
company name | name | of {v}/for {v}/related to {v}
brand | name | from {v}/by {v}/made by {v}
product | noun | of {v}/for {v}/called {v}
product name | name | of the {v}/for {v}
model | code | the {v}/of model {v}/model {v}
item name | noun | for {v}/of {v}/some {v}
ingredient | noun | with {v}/made with {v}/using {v}
dish | noun | of {v}/for {v}
diet | noun | that is {v}/for a {v} diet/{v}
cuisine | noun | serving {v}/with {v} food/{v}
recipe type | noun | for {v}/for a {v}
plant | noun | of {v}/for a {v}
species | noun | of the {v}/for {v}/of {v}
animal | noun | of the {v}/for a {v}
material | noun | made of {v}/of {v}/in {v}
substance | noun | of {v}/for {v}
gas | noun | for {v}/of {v}/filled with {v}
element | noun | of {v}/for {v}
compound | noun | of {v}/with {v}
planet | name | on {v}/of {v}/for {v}
star | name | of {v}/around {v}
gene | code | of {v}/for the gene {v}
disease | noun | of {v}/for {v}/against {v}
symptom | noun | with {v}/having {v}
drug | noun | of {v}/taking {v}
war | event | in the {v}/during the {v}/of the {v}
battle | event | of the {v}/in the {v}
treaty | event | of the {v}/in the {v}
person name | name | of {v}/for {v}/named {v}
user name | name | for {v}/named {v}/my name is {v}
leader name | name | of {v}/under {v}
case number | code | {v}/of case {v}/number {v}
case id | code | {v}/with the id {v}
lawyer | name | with {v}/of {v}
currency | code | in {v}/to {v}/of {v}
stock name | name | of {v}/for {v}
account type | noun | for my {v} account/in the {v} account
topic | noun | about {v}/on {v}/on the topic of {v}
subject | noun | about {v}/in {v}/on {v}
skill | noun | in {v}/of {v}/with skills in {v}
genre | noun | in the {v} genre/of {v}/that is {v}
style | noun | in the style of {v}/in a {v} style
instrument | noun | for the {v}/on the {v}/of the {v}
key | code | in {v}/in the key of {v}
color | noun | in {v}/painted {v}
condition | noun | that is {v}/in {v} condition
type | noun | of type {v}/for {v}/a {v} one
vehicle type | noun | for a {v}/of a {v}/driving a {v}
fuel type | noun | running on {v}/that uses {v}/using {v}
job title | noun | for a {v}/as a {v}
category | noun | in {v}/in the category {v}
department | noun | in {v}/in the {v} department
service | noun | for {v}/that offers {v}/providing {v}
task | phrase | to {v}/'{v}'
content | phrase | '{v}'/saying {v}/: {v}
text | phrase | '{v}'/of {v}/: {v}
note | phrase | '{v}'/that says '{v}'
description | phrase | '{v}'/described as {v}
query | phrase | about {v}/for {v}/'{v}'
question | phrase | '{v}'/: {v}
format | code | in the format {v}/as {v}/formatted as {v}
language | name | in {v}/to {v}/into {v}
framework | name | in {v}/using {v}
database name | noun | in the {v} database/from {v}
table name | noun | in the table {v}/from {v}
file name | code | named {v}/in {v}/of {v}
command | code | {v}/using {v}/with the command {v}
function | code | {v}/of {v}
""".strip().splitlines()
)


def make_named(rng: Random) -> Told:
    """A thing that is told by its name."""
    name, kind, said = rng.choice(_NAMED_THINGS)
    parts = tuple(name.split())
    about = rng.choice(
        (f"The {name}", f"Name of the {parts[0]}", f"The name of the {parts[0]}", f"{name.capitalize()}", f"The {name} to use", f"The {name} of the {any_word(rng)}", f"The {parts[0]} for the {any_word(rng)}")
    )  # fmt: skip
    listed = kind in ("noun", "place", "name") and rng.random() < 0.1
    draw_one = _NAME_KINDS[kind]

    def draw(rng: Random) -> Said:
        if listed:
            values = [draw_one(rng) for _ in range(rng.choice((1, 2, 2, 3)))]
            return values, values[0] if len(
                values
            ) == 1 else f"{', '.join(values[:-1])} and {values[-1]}"
        value = draw_one(rng)
        roll = rng.random()
        if kind in ("title", "name") and roll < 0.1:
            return value, f"'{value}'"
        return value, value

    return Told(parts, "array" if listed else "string", about, tuple(said.split("/")), draw)


def _place(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.45:
        return rng.choice(words.CITIES)
    if roll < 0.6:
        return rng.choice(words.COUNTRIES)
    return proper_name(rng)


def _event(rng: Random) -> str:
    return f"{rng.choice(('Battle', 'Treaty', 'Festival', 'War', 'Museum', 'Feast', 'Siege', 'House'))} of {any_word(rng).capitalize()}"


def _noun(rng: Random) -> str:
    return " ".join(any_word(rng) for _ in range(rng.choice((1, 1, 1, 2))))


def _phrase(rng: Random) -> str:
    middle = rng.choice(("the", "a", "my", "for the", "to the", "in the", "with", "and"))
    return f"{any_word(rng)} {middle} {_noun(rng)}"


def _title(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.3:
        return f"The {any_word(rng).capitalize()}"
    return proper_name(rng)


_NAME_KINDS: dict[str, Callable[[Random], str]] = {
    "name": proper_name,
    "title": _title,
    "event": _event,
    "place": _place,
    "noun": _noun,
    "code": code,
    "phrase": _phrase,
}
