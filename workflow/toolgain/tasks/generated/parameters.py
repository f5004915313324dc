# ruff: noqa: E501
"""Kinds of tool parameters: how each is named in a schema, described, drawn and said in a question.

A kind knows everything about one sort of argument: the names a schema may give it, its JSON type,
descriptions, a way to draw a value, and the phrases with which a person would mention that value.
The value that is drawn and the words that are said always carry the same text, so a correct answer
can be copied from the question (or turned from a phrase into true/false or a number).
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from toolgain.tasks.generated import words

Value = Any
"""A JSON value."""


@dataclass(frozen=True)
class Kind:
    """One sort of argument.

    `said` are phrases with `{v}` where the value's words go. `draw` returns the value, or a pair
    (value, words) where the words differ from the value's plain text.
    """

    names: tuple[str, ...]
    type: str
    about: tuple[str, ...]
    said: tuple[str, ...]
    draw: Callable[[Random], Value]
    items: str | None = None
    enum: tuple[str, ...] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spoken:
    """A value whose words in the question are not its plain text."""

    value: Value
    text: str


def plain(value: Value) -> str:
    """The words for a value: the text a person would write for it."""
    if isinstance(value, Spoken):
        return value.text
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        parts = [plain(item) for item in value]
        return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return str(value)


# ---------------------------------------------------------------- drawing values


def pseudo_word(rng: Random) -> str:
    """A word that exists nowhere, so that copying it cannot be replaced by knowing it."""
    return "".join(
        rng.choice(words.ONSETS) + rng.choice(words.VOWELS) + rng.choice(words.CODAS)
        for _ in range(rng.choice((1, 2, 2, 3)))
    )


def person(rng: Random) -> str:
    first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
    return rng.choice((first, f"{first} {last}", f"{first} {last}", f"Dr. {last}"))


def full_name(rng: Random) -> str:
    return f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.LAST_NAMES)}"


def city(rng: Random) -> str:
    if rng.random() < 0.15:
        return pseudo_word(rng).capitalize()
    name = rng.choice(words.CITIES)
    return f"{name}, {rng.choice(words.COUNTRIES)}" if rng.random() < 0.12 else name


def company(rng: Random) -> str:
    name = rng.choice(words.COMPANIES) if rng.random() < 0.7 else pseudo_word(rng).capitalize()
    return name + rng.choice(("", "", "", " Corp", " Inc", " Labs", " Group", " Systems"))


def iso_date(rng: Random) -> str:
    return f"{rng.randint(1990, 2030)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def any_date(rng: Random) -> str:
    year, month, day = rng.randint(1990, 2030), rng.randint(1, 12), rng.randint(1, 28)
    name = words.MONTHS[month - 1]
    return rng.choice(
        (
            f"{year}-{month:02d}-{day:02d}",
            f"{year}-{month:02d}-{day:02d}",
            f"{name} {day}, {year}",
            f"{day} {name} {year}",
            f"{month:02d}/{day:02d}/{year}",
            f"{name} {day}",
        )
    )


def clock(rng: Random) -> str:
    if rng.random() < 0.3:
        return f"{rng.randint(1, 12)} {rng.choice(('AM', 'PM'))}"
    return f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 30, 45, rng.randint(0, 59))):02d}"


def identifier(rng: Random) -> str:
    letters = "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.randint(1, 3)))
    digits = "".join(rng.choice(string.digits) for _ in range(rng.randint(2, 5)))
    return rng.choice(
        (letters + digits, f"{letters}-{digits}", digits, f"{letters.lower()}_{digits}")
    )


def email(rng: Random) -> str:
    first, last = rng.choice(words.FIRST_NAMES).lower(), rng.choice(words.LAST_NAMES).lower()
    user = rng.choice((first, f"{first}.{last}", f"{last}{rng.randint(1, 99)}"))
    return f"{user}@{rng.choice(words.COMPANIES).lower()}.{rng.choice(('com', 'org', 'net', 'io'))}"


def url(rng: Random) -> str:
    host = f"{rng.choice(words.COMPANIES).lower()}.{rng.choice(('com', 'org', 'net', 'io'))}"
    return f"https://{rng.choice(('www.', '', 'api.'))}{host}/{rng.choice(words.NOUNS)}"


def file_name(rng: Random) -> str:
    stem = rng.choice(words.NOUNS)
    if rng.random() < 0.5:
        stem += "_" + rng.choice((rng.choice(words.NOUNS), str(rng.randint(1, 99))))
    name = f"{stem}.{rng.choice(('csv', 'txt', 'json', 'pdf', 'png', 'log', 'xlsx', 'md'))}"
    return rng.choice((name, name, f"/{rng.choice(words.NOUNS)}/{name}"))


def title(rng: Random) -> str:
    adjective, noun = (
        rng.choice(words.ADJECTIVES).capitalize(),
        rng.choice(words.NOUNS).capitalize(),
    )
    other = rng.choice(words.NOUNS).capitalize()
    return rng.choice(
        (
            f"The {adjective} {noun}",
            f"{noun} of the {other}",
            f"{adjective} {noun}",
            f"{noun} and {other}",
        )
    )


def sentence(rng: Random) -> str:
    noun, other = rng.choice(words.NOUNS), rng.choice(words.NOUNS)
    adjective, name = rng.choice(words.ADJECTIVES), rng.choice(words.FIRST_NAMES)
    return rng.choice(
        (
            f"The {noun} is {adjective}",
            f"Bring the {noun} on {rng.choice(words.WEEKDAYS)}",
            f"{name} needs a {adjective} {noun}",
            f"Thanks for the {noun}",
            f"Check the {noun} and the {other}",
            f"See you at {rng.randint(1, 12)}",
        )
    )


def noun_phrase(rng: Random) -> str:
    noun = rng.choice(words.NOUNS)
    kind = rng.random()
    if kind < 0.3:
        return f"{rng.choice(words.ADJECTIVES)} {noun}"
    if kind < 0.5:
        return f"{noun} {rng.choice(words.NOUNS)}"
    return noun


def address(rng: Random) -> str:
    street = f"{rng.randint(1, 999)} {rng.choice(words.LAST_NAMES)} {rng.choice(words.STREETS)}"
    return f"{street}, {rng.choice(words.CITIES)}" if rng.random() < 0.4 else street


def whole(rng: Random) -> int:
    return rng.choice(
        (
            rng.randint(1, 12),
            rng.randint(1, 20),
            rng.randint(1, 100),
            rng.randint(1, 100),
            rng.randint(100, 1000),
            rng.randint(1, 99) * 10,
            rng.randint(1, 99) * 100,
            rng.randint(1000, 99999),
        )
    )


def count(rng: Random) -> Value:
    number = rng.choice((rng.randint(2, 10), rng.randint(1, 6), rng.randint(2, 50)))
    if 2 <= number <= 12 and rng.random() < 0.25:
        return Spoken(number, words.NUMBER_WORDS[number])
    return number


def decimal(rng: Random) -> float | int:
    if rng.random() < 0.3:
        return rng.randint(1, 500)
    digits = rng.choice((1, 1, 2))
    value = round(rng.choice((rng.random(), rng.random() * 10, rng.random() * 200)), digits)
    return value if value != int(value) else int(value) + 0.5


def money(rng: Random) -> float | int:
    return rng.choice(
        (rng.randint(1, 200) * 5, rng.randint(1, 90) * 100, round(rng.random() * 300, 2) + 0.01)
    )


def money_rounded(rng: Random) -> float | int:
    value = money(rng)
    return value if isinstance(value, int) else round(value, 2)


def several(
    draw: Callable[[Random], Value], low: int = 2, high: int = 4
) -> Callable[[Random], Value]:
    """A list of drawn values, said as "a, b and c"."""

    def draw_list(rng: Random) -> Value:
        return [draw(rng) for _ in range(rng.randint(low, high))]

    return draw_list


def numbers(draw: Callable[[Random], Value]) -> Callable[[Random], Value]:
    """A list of numbers, said either as words or in brackets."""

    def draw_list(rng: Random) -> Value:
        values = [draw(rng) for _ in range(rng.randint(2, 6))]
        return Spoken(values, f"[{', '.join(map(str, values))}]") if rng.random() < 0.6 else values

    return draw_list


def measurements(rng: Random) -> Value:
    """A list of numbers with a point, as BFCL compares the entries of such a list by type as well.

    The words leave out the point of a whole number, as a person would.
    """
    drawn = [decimal(rng) for _ in range(rng.randint(2, 6))]
    said = f"[{', '.join(map(str, drawn))}]" if rng.random() < 0.6 else plain(drawn)
    return Spoken([float(number) for number in drawn], said)


def pick(*choices: str) -> Callable[[Random], str]:
    return lambda rng: rng.choice(choices)


# ---------------------------------------------------------------- the kinds


def _kind(
    names: str,
    type_: str,
    about: str,
    said: str,
    draw: Callable[[Random], Value],
    items: str | None = None,
    enum: tuple[str, ...] | None = None,
) -> Kind:
    return Kind(
        tuple(names.split("|")),
        type_,
        tuple(about.split("|")),
        tuple(said.split("|")),
        draw,
        items,
        enum,
    )


def _enum(names: str, about: str, said: str, choices: str) -> Kind:
    options = tuple(choices.split("|"))
    return _kind(names, "string", about, said, pick(*options), enum=options)


KINDS: dict[str, Kind] = {
    "city": _kind("city|location|city_name|town|place", "string",
        "Name of the city|The city|City to look at|The location, e.g. a city|City or town",
        "in {v}|for {v}|in the city of {v}|around {v}|near {v}", city),
    "country": _kind("country|country_name|nation|region", "string",
        "The country|Name of the country|Country of interest", "in {v}|for {v}|of {v}", lambda r: r.choice(words.COUNTRIES)),
    "origin": _kind("origin|from_city|departure_city|start|source|from_location", "string",
        "Where it starts|City of departure|Starting point", "from {v}|leaving {v}|starting in {v}", city),
    "destination": _kind("destination|to_city|arrival_city|end|target|to_location", "string",
        "Where it ends|City of arrival|Destination", "to {v}|going to {v}|bound for {v}", city),
    "address": _kind("address|street_address|location|delivery_address", "string",
        "Full address|Street address|Address of the place", "at {v}|for {v}|to {v}", address),
    "date": _kind("date|day|on_date|start_date|when", "string",
        "The date|Date of interest|Day, any common format|The day in question", "on {v}|for {v}|dated {v}", any_date),
    "iso_date": _kind("date|day|event_date|due_date", "string",
        "Date as YYYY-MM-DD|Day in the format YYYY-MM-DD", "on {v}|for {v}", iso_date),
    "start_date": _kind("start_date|from_date|begin|check_in|since", "string",
        "First day|Start of the period|Start date", "from {v}|starting {v}|beginning on {v}", any_date),
    "end_date": _kind("end_date|to_date|until|check_out|till", "string",
        "Last day|End of the period|End date", "until {v}|to {v}|ending on {v}", any_date),
    "time": _kind("time|start_time|at_time|hour", "string",
        "Time of day|The time, e.g. 14:30|Starting time", "at {v}|for {v}|starting at {v}", clock),
    "weekday": _kind("weekday|day|day_of_week", "string", "Day of the week", "on {v}|for {v}|every {v}",
        lambda r: r.choice(words.WEEKDAYS), enum=words.WEEKDAYS),
    "month": _kind("month|month_name", "string", "Month of the year|The month", "in {v}|for {v}|during {v}",
        lambda r: r.choice(words.MONTHS)),
    "year": _kind("year|in_year|calendar_year", "integer", "The year|Calendar year|Year, four digits",
        "in {v}|for {v}|for the year {v}|from {v}", lambda r: r.randint(1900, 2030)),
    "person": _kind("name|person|person_name|full_name|contact", "string",
        "Name of the person|The person's name|Full name", "for {v}|named {v}|of {v}|by {v}", person),
    "recipient": _kind("recipient|to|receiver|contact|send_to", "string",
        "Who receives it|The recipient|Person to send to", "to {v}|for {v}", person),
    "author": _kind("author|author_name|artist|creator|writer|director", "string",
        "Who made it|Name of the author|Name of the artist", "by {v}|from {v}|written by {v}", full_name),
    "player": _kind("player|player_name|athlete|name", "string", "Name of the player|The athlete",
        "for {v}|of {v}|by the player {v}", full_name),
    "team": _kind("team|team_name|club", "string", "Name of the team|The club",
        "for {v}|of the {v}|for the team {v}",
        lambda r: f"{r.choice(words.CITIES)} {r.choice(words.NOUNS).capitalize()}s"),
    "company": _kind("company|company_name|organization|business|firm", "string",
        "Name of the company|The company|Company to look up", "for {v}|of {v}|at {v}|from {v}", company),
    "symbol": _kind("symbol|ticker|stock|stock_symbol", "string", "Ticker symbol|Stock symbol, upper case",
        "for {v}|of {v}", lambda r: "".join(r.choice(string.ascii_uppercase) for _ in range(r.randint(2, 5)))),
    "email": _kind("email|email_address|to|recipient_email|mail", "string", "E-mail address|Address of the mailbox",
        "to {v}|for {v}|with the email {v}|at {v}", email),
    "phone": _kind("phone|phone_number|number|mobile", "string", "Phone number",
        "to {v}|for {v}|with phone number {v}", lambda r: f"555-{r.randint(100, 999)}-{r.randint(1000, 9999)}"),
    "url": _kind("url|link|website|page|address", "string", "Address of the page|The URL|Link",
        "from {v}|at {v}|for {v}|of {v}", url),
    "file": _kind("file|file_name|filename|path|file_path", "string", "Name of the file|Path of the file",
        "from {v}|in {v}|of {v}|for the file {v}|called {v}", file_name),
    "folder": _kind("folder|directory|dir|output_dir", "string", "The folder|Target folder",
        "in the folder {v}|into {v}|in {v}", lambda r: "/" + "/".join(r.choice(words.NOUNS) for _ in range(r.randint(1, 2)))),
    "id": _kind("id|record_id|reference|code|number", "string", "Identifier|The identifier|Reference code",
        "{v}|with id {v}|number {v}|with the reference {v}|for {v}", identifier),
    "user_id": _kind("user_id|customer_id|account_id|client_id|member_id", "string",
        "Identifier of the user|Customer number", "for user {v}|for customer {v}|of account {v}|with id {v}", identifier),
    "order_id": _kind("order_id|order_number|order|tracking_number|booking_id", "string",
        "Order number|Number of the order", "for order {v}|number {v}|with order number {v}", identifier),
    "number_id": _kind("id|user_id|item_id|ticket_id|record_number", "integer",
        "Numeric identifier|The id", "{v}|with id {v}|number {v}|for id {v}", lambda r: r.randint(1, 99999)),
    "title": _kind("title|name|book|movie|song|work", "string", "The title|Title of the work",
        "called {v}|titled '{v}'|named {v}|'{v}'|for {v}", title),
    "message": _kind("message|text|body|content|note", "string", "The text|Text of the message|What to say",
        "saying '{v}'|with the text '{v}'|that says '{v}'|'{v}'", sentence),
    "subject": _kind("subject|title|headline|topic", "string", "Subject line|The subject|Topic",
        "about '{v}'|with the subject '{v}'|on the subject of {v}", noun_phrase),
    "query": _kind("query|search|keyword|term|q|search_term|keywords", "string",
        "What to search for|Search words|The search term", "about {v}|for {v}|matching '{v}'|with the word {v}", noun_phrase),
    "text": _kind("text|input_text|sentence|content|string", "string", "The text|Input text|Text to work on",
        "'{v}'|of the text '{v}'|of '{v}'|for '{v}'", sentence),
    "item": _kind("item|product|product_name|item_name|article", "string", "The item|Name of the product|What is wanted",
        "for {v}|of {v}|called {v}|of the item {v}", noun_phrase),
    "category": _kind("category|type|kind|group|section", "string", "Category|Kind of thing|Which group",
        "in the category {v}|of type {v}|of the kind {v}|in the {v} category", lambda r: r.choice(words.NOUNS)),
    "ingredient": _kind("ingredient|main_ingredient|food", "string", "Main ingredient|The food", "with {v}|using {v}|made of {v}",
        lambda r: r.choice(words.NOUNS)),
    "animal": _kind("animal|species|breed", "string", "The animal|Species", "of the {v}|for a {v}|about the {v}",
        lambda r: r.choice(words.NOUNS)),
    "project": _kind("project|project_name|workspace|repository", "string", "Name of the project|The project",
        "in the project {v}|for project {v}|of {v}", lambda r: r.choice((r.choice(words.COMPANIES), pseudo_word(r), noun_phrase(r)))),
    "room": _kind("room|room_name|area|zone", "string", "The room|Which room", "in the {v}|for the {v}",
        pick("kitchen", "bedroom", "living room", "office", "garage", "hall", "bathroom", "attic", "studio", "library", "nursery")),
    "device": _kind("device|device_name|appliance|machine", "string", "The device|Name of the device", "for the {v}|of the {v}|on the {v}", noun_phrase),
    "language": _kind("language|lang|target_language|to_language", "string", "The language|Target language",
        "in {v}|into {v}|to {v}", lambda r: r.choice(words.LANGUAGES)),
    "source_language": _kind("source_language|from_language|source", "string", "Source language", "from {v}",
        lambda r: r.choice(words.LANGUAGES)),
    "from_currency": _kind("from_currency|base_currency|source_currency|from", "string", "Currency to convert from|Base currency code",
        "from {v}|in {v}", lambda r: r.choice(words.CURRENCIES)),
    "to_currency": _kind("to_currency|target_currency|currency|to", "string", "Currency to convert to|Target currency code",
        "to {v}|into {v}", lambda r: r.choice(words.CURRENCIES)),
    "currency": _kind("currency|currency_code|in_currency", "string", "Currency code|The currency", "in {v}|as {v}",
        lambda r: r.choice(words.CURRENCIES)),
    "color": _kind("color|colour|paint_color", "string", "The color|Color wanted", "in {v}|colored {v}|with the color {v}",
        lambda r: r.choice(words.COLORS)),
    "size": _enum("size|format", "The size|Size wanted", "in {v}|of size {v}|in size {v}", "small|medium|large|extra large"),
    "unit": _enum("unit|units|temperature_unit|scale", "Unit of the result|Unit", "in {v}|in units of {v}", "celsius|fahrenheit|kelvin"),
    "length_unit": _enum("unit|units|length_unit", "Unit of length|Unit", "in {v}|as {v}", "meters|feet|miles|kilometers|inches|centimeters"),
    "weight_unit": _enum("unit|weight_unit|units", "Unit of weight", "in {v}|as {v}", "grams|kilograms|pounds|ounces"),
    "sort": _enum("sort_by|order|sort|order_by", "How to sort|Sort order", "sorted by {v}|ordered by {v}", "price|date|rating|name|distance|relevance"),
    "priority": _enum("priority|level|urgency|importance", "Priority|How urgent it is", "with {v} priority|at {v} priority|of {v} priority", "low|normal|high|urgent"),
    "period": _enum("period|interval|frequency|timeframe", "The period|How often", "per {v}|for the last {v}|by {v}", "day|week|month|quarter|year"),
    "mode": _enum("mode|travel_mode|transport|method", "Means of transport|Way to travel", "by {v}|using a {v}", "car|train|bus|bike|foot|plane|boat"),
    "meal": _enum("meal|meal_type|course", "Meal of the day", "for {v}|at {v}", "breakfast|lunch|dinner|brunch|snack"),
    "cuisine": _enum("cuisine|food_type|style", "Kind of food", "serving {v} food|with {v} cuisine|for {v} food", "Italian|Thai|Mexican|Indian|French|Greek|Chinese|Turkish"),
    "genre": _enum("genre|category|style", "Genre|Genre wanted", "in the {v} genre|of the genre {v}|with {v} as genre", "comedy|drama|thriller|fantasy|romance|horror|mystery|history"),
    "status": _enum("status|state|filter", "The status|Only this status", "with status {v}|marked as {v}|that are {v}", "open|closed|pending|active|archived|draft"),
    "output": _enum("format|output_format|file_type|output", "Output format|Format of the file", "as {v}|in {v} format", "pdf|csv|json|xml|html|png"),
    "on_off": _enum("state|action|power|mode", "Switch it on or off", "{v}|to {v}|turned {v}", "on|off"),
    "limit": _kind("limit|max_results|count|top|n|number_of_results", "integer", "How many results|Maximum number of results|Number of entries",
        "limited to {v} results|at most {v} of them|showing {v} results|with {v} entries|limit {v}", count),
    "days": _kind("days|number_of_days|duration|num_days", "integer", "Number of days|How many days", "for {v} days|over {v} days|for the next {v} days", count),
    "hours": _kind("hours|duration|num_hours", "integer", "Number of hours|Duration in hours", "for {v} hours|lasting {v} hours", count),
    "minutes": _kind("minutes|duration|duration_minutes|length", "integer", "Duration in minutes|Number of minutes",
        "for {v} minutes|lasting {v} minutes|of {v} minutes", lambda r: r.choice((5, 10, 15, 20, 25, 30, 45, 60, 90, r.randint(1, 120)))),
    "people": _kind("people|guests|party_size|passengers|number_of_people", "integer", "Number of people|How many people",
        "for {v} people|for {v} guests|for a group of {v}", count),
    "quantity": _kind("quantity|amount|count|units|number", "integer", "How many|Quantity|Number of units",
        "with a quantity of {v}|{v} pieces|{v} units|a total of {v}", count),
    "age": _kind("age|age_years", "integer", "Age in years|The age", "aged {v}|who is {v} years old|at the age of {v}", lambda r: r.randint(1, 99)),
    "amount": _kind("amount|sum|value|total|price", "number", "Amount of money|The amount|Sum", "of {v}|for {v}|{v}|with an amount of {v}", money_rounded),
    "price": _kind("max_price|budget|price_limit|maximum_price", "number", "Highest price|Budget", "under {v}|below {v}|with a budget of {v}|for at most {v}", money_rounded),
    "rate": _kind("rate|interest_rate|percent|percentage|tax_rate", "number", "Rate in percent|Percentage", "at {v} percent|with a rate of {v}|at a rate of {v}%|at {v}%", decimal),
    "years": _kind("years|term|duration|num_years|period", "integer", "Number of years|Term in years", "over {v} years|for {v} years|after {v} years", count),
    "weight": _kind("weight|mass|weight_kg|body_weight", "number", "Weight in kilograms|The weight", "weighing {v} kg|with a weight of {v}|and weight {v} kg", decimal),
    "height": _kind("height|height_cm|tallness", "number", "Height in centimeters|The height", "with a height of {v}|{v} cm tall|and height {v}", decimal),
    "distance": _kind("distance|length|distance_km|radius", "number", "Distance in kilometers|The distance", "over {v} km|within {v} km|for a distance of {v}|covering {v} kilometers", decimal),
    "number": _kind("number|n|x|value|num", "integer", "The number|A whole number|Input number", "of {v}|for {v}|of the number {v}|{v}", whole),
    "values": _kind("numbers|values|data|list|samples", "array", "List of numbers|The numbers|Values to use",
        "of {v}|for {v}|of the numbers {v}|for the values {v}", numbers(whole), items="integer"),
    "floats": _kind("values|data|measurements|points|samples", "array", "List of measurements|The measured values",
        "of {v}|for {v}|of the measurements {v}", measurements, items="number"),
    "names": _kind("names|people|attendees|participants|members|invitees", "array", "Names of the people|List of names",
        "with {v}|for {v}|including {v}", several(person), items="string"),
    "cities": _kind("cities|locations|places|stops|destinations", "array", "List of cities|The cities", "for {v}|in {v}|through {v}", several(city), items="string"),
    "things": _kind("items|products|ingredients|tags|topics|keywords", "array", "List of items|The items", "with {v}|for {v}|containing {v}|using {v}",
        several(lambda r: r.choice(words.NOUNS)), items="string"),
    "level": _kind("level|brightness|volume|intensity|speed", "integer", "Level from 0 to 100|The level", "to {v}|at {v}|at level {v}|to {v} percent", lambda r: r.randint(0, 100)),
    "degrees": _kind("temperature|target_temperature|degrees|value", "number", "Temperature in degrees|The temperature", "to {v} degrees|at {v} degrees|of {v} degrees", lambda r: r.choice((r.randint(5, 40), r.randint(-20, 120), r.randint(30, 80) / 2))),
    "lat": _kind("latitude|lat", "number", "Latitude in degrees", "at latitude {v}|with latitude {v}", lambda r: round(r.uniform(-90, 90), 2)),
    "lon": _kind("longitude|lon|lng", "number", "Longitude in degrees", "and longitude {v}|with longitude {v}", lambda r: round(r.uniform(-180, 180), 2)),
}  # fmt: skip
