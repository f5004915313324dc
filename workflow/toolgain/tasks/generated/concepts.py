# ruff: noqa: E501
"""What tools do: a catalogue of things people ask for, one line each.

A line reads `verbs | object words | phrases | parameters`:

- verbs: classes of VERBS, any of which fits the object;
- object words: what the function's name is made of;
- phrases: how people call the object in a question, separated by "/";
- parameters: kinds of toolgain.tasks.generated.parameters, or `name:type` (int, num, str, bool) for a
  parameter that is only known by its name; a leading "?" makes it optional.
"""

from __future__ import annotations

from dataclasses import dataclass

VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # class: (verbs in names, starts of descriptions, starts of questions with {o} for the object)
    "get": (
        ("get", "fetch", "retrieve", "lookup", "show", "find", "read", "query", "load", ""),
        ("Get {o}", "Returns {o}", "Retrieves {o}", "Look up {o}", "Fetch {o}", "Provides {o}", "Gives {o}"),
        ("What is {o}", "What's {o}", "Tell me {o}", "Show me {o}", "I need {o}", "Give me {o}", "Get {o}",
         "Can you get {o}", "Could you look up {o}", "I want to know {o}", "Please find {o}", "Do you know {o}",
         "I'd like to see {o}", "Fetch {o}", "Find out {o}", "Can I have {o}", "Let me see {o}", "Check {o}"),
    ),
    "calculate": (
        ("calculate", "compute", "calc", "determine", "estimate", "find", "work_out", "evaluate", ""),
        ("Calculate {o}", "Computes {o}", "Works out {o}", "Determine {o}", "Estimates {o}", "Calculates {o}"),
        ("Calculate {o}", "What is {o}", "Compute {o}", "Work out {o}", "Find {o}", "I need {o}", "Please calculate {o}",
         "Can you compute {o}", "Determine {o}", "Help me work out {o}", "Could you estimate {o}", "How much is {o}"),
    ),
    "search": (
        ("search", "find", "lookup", "list", "browse", "discover", "query"),
        ("Search {o}", "Finds {o}", "Search for {o}", "Lists {o}", "Find {o}", "Looks for {o}"),
        ("Find {o}", "Search for {o}", "Look for {o}", "I'm looking for {o}", "Show me {o}", "Are there {o}",
         "Can you find {o}", "List {o}", "I want {o}", "Help me find {o}", "Please search for {o}", "Which are {o}"),
    ),
    "create": (
        ("create", "add", "make", "new", "register", "insert", "open", "setup"),
        ("Create {o}", "Adds {o}", "Creates {o}", "Set up {o}", "Registers {o}", "Make {o}"),
        ("Create {o}", "Add {o}", "Make {o}", "Set up {o}", "I want to create {o}", "Please add {o}", "Can you make {o}",
         "I need to set up {o}", "Register {o}", "Could you create {o}"),
    ),
    "book": (
        ("book", "reserve", "schedule", "order", "arrange", "request"),
        ("Book {o}", "Reserves {o}", "Books {o}", "Arrange {o}", "Reserve {o}"),
        ("Book {o}", "Reserve {o}", "I want to book {o}", "Please reserve {o}", "Can you book {o}", "Arrange {o}",
         "I'd like to reserve {o}", "Schedule {o}", "I need {o}"),
    ),
    "send": (
        ("send", "post", "deliver", "submit", "share", "dispatch"),
        ("Send {o}", "Sends {o}", "Delivers {o}", "Post {o}"),
        ("Send {o}", "Please send {o}", "Can you send {o}", "I want to send {o}", "Could you deliver {o}", "Post {o}"),
    ),
    "update": (
        ("update", "change", "set", "edit", "modify", "adjust", "configure"),
        ("Update {o}", "Changes {o}", "Sets {o}", "Modify {o}", "Adjusts {o}", "Change {o}"),
        ("Change {o}", "Set {o}", "Update {o}", "Please change {o}", "Can you set {o}", "Adjust {o}", "I want to change {o}",
         "Modify {o}", "Could you update {o}"),
    ),
    "delete": (
        ("delete", "remove", "cancel", "clear", "drop"),
        ("Delete {o}", "Removes {o}", "Cancels {o}", "Remove {o}"),
        ("Delete {o}", "Remove {o}", "Cancel {o}", "Please delete {o}", "Can you remove {o}", "I want to cancel {o}", "Get rid of {o}"),
    ),
    "convert": (
        ("convert", "translate", "transform", "change"),
        ("Convert {o}", "Converts {o}", "Transforms {o}"),
        ("Convert {o}", "Please convert {o}", "Can you convert {o}", "I want to convert {o}", "Turn {o}", "Change {o}"),
    ),
    "play": (
        ("play", "start", "stream", "run", "launch"),
        ("Play {o}", "Starts {o}", "Plays {o}", "Start {o}"),
        ("Play {o}", "Start {o}", "Please play {o}", "I want to hear {o}", "Put on {o}", "Can you start {o}"),
    ),
    "check": (
        ("check", "verify", "test", "validate", "is", "has", "inspect"),
        ("Check {o}", "Checks {o}", "Verifies {o}", "Tests {o}", "Validate {o}"),
        ("Check {o}", "Verify {o}", "Can you check {o}", "Please test {o}", "I need to verify {o}", "Tell me about {o}"),
    ),
    "analyze": (
        ("analyze", "predict", "detect", "classify", "summarize", "compare", "generate"),
        ("Analyze {o}", "Predicts {o}", "Summarizes {o}", "Analyzes {o}", "Generates {o}"),
        ("Analyze {o}", "Predict {o}", "Generate {o}", "Please analyze {o}", "Can you summarize {o}", "I need an analysis of {o}"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Concept:
    """A thing that can be asked for: the verbs that fit, its words, its phrases, its parameters."""

    verbs: tuple[str, ...]
    words: tuple[str, ...]
    phrases: tuple[str, ...]
    parameters: tuple[str, ...]

    @property
    def key(self) -> str:
        return " ".join(self.words)


_CATALOGUE = """
get search | weather forecast | the weather/the weather forecast/the forecast | city ?date ?unit ?days
get | air quality | the air quality/the air pollution | city ?date
get | tide table | the tides/the tide times | city date
get | sunrise time | the sunrise/the time of sunrise | city ?date
get analyze | pollen level | the pollen level/the pollen count | city ?days
get | snow depth | the snow depth/how deep the snow is | city ?length_unit
get | humidity reading | the humidity/how humid it is | city ?time
search | flights | flights/a flight/plane tickets | origin destination date ?people ?price
book | flight ticket | a flight/a plane ticket/a flight ticket | origin destination date ?people
search | train connections | trains/a train/train connections | origin destination ?time ?date
search | bus routes | buses/a bus/bus routes | origin destination ?time
get calculate | travel distance | the distance/how far it is/the travel distance | origin destination ?length_unit ?mode
get calculate | travel time | the travel time/how long the trip takes/the driving time | origin destination ?mode
get | driving directions | directions/the way/a route | origin destination ?mode
book search | hotel room | a hotel/a hotel room/a room in a hotel | city start_date ?end_date ?people ?price
search | vacation rentals | vacation rentals/a holiday home/apartments to rent | city ?people ?price
book | rental car | a rental car/a car to rent | city start_date ?end_date ?size
book | taxi ride | a taxi/a cab/a ride | address ?time
search | tourist attractions | attractions/sights to see/tourist attractions | city ?limit
search | museums | museums/art museums | city ?limit
search | restaurants | restaurants/a place to eat/a restaurant | city ?cuisine ?limit ?price
book | restaurant table | a table/a table at a restaurant/a restaurant table | people time ?date ?city
search | recipes | recipes/a recipe/dishes to cook | ingredient ?limit ?meal
get | nutrition facts | the nutrition facts/the calories/the nutrition values | ingredient ?quantity
order book | pizza | a pizza/pizza | size ?quantity ?address
order book | grocery delivery | groceries/a grocery delivery | things ?address
analyze create | meal plan | a meal plan/a menu | days ?meal
search | events | events/things to do/what is going on | city ?date ?category
search book | concert tickets | concert tickets/tickets to a concert | city date ?people
get | exchange rate | the exchange rate/the rate of exchange | from_currency to_currency ?date
convert | money amount | money/an amount of money | amount from_currency to_currency
get | stock quote | the stock price/the share price/the stock quote | symbol ?date
get | company revenue | the revenue/the sales revenue | company year
get | company profile | information on the company/the company profile | company
search | market news | market news/business news | company ?limit
calculate | loan payment | the loan payment/the monthly payment of a loan | amount rate years
calculate | compound growth | the compound interest/the growth of an investment | amount rate years ?period
calculate | mortgage cost | the mortgage/the mortgage cost | amount years ?rate
calculate | sales tax | the tax/the sales tax | amount rate
calculate | tip share | the tip/how much to tip | amount rate ?people
calculate | discount price | the discounted price/the price after a discount | amount rate
get check | account balance | the balance/the account balance/how much is in the account | user_id ?currency
send | bank transfer | money/a bank transfer/a payment | amount recipient ?currency
create | savings goal | a savings goal/a goal for my savings | amount iso_date
get | crypto value | the value of the coin/the crypto price | symbol ?currency
create | invoice | an invoice/a bill | company amount ?iso_date
get | order status | the order status/where the order is | order_id
delete | order | the order/my order | order_id ?message
get | parcel location | the parcel/where my parcel is/the package | order_id
search | products | products/things to buy/items in the shop | query ?category ?price ?sort
create add | cart item | an item to the cart/something to my shopping cart | item quantity ?color ?size
get | product reviews | reviews/what people say/product reviews | item ?limit
update | stock level | the stock/the number in stock | item quantity
send | email message | an email/an e-mail/a mail | email subject ?message
send | text message | a text/a message/a text message | recipient message
send | meeting invitation | an invitation/a meeting invitation | names date ?time
create book | calendar event | a meeting/an event/a calendar entry | subject date ?time ?minutes
delete | appointment | my appointment/the appointment | person date
create | reminder | a reminder/a note to remind me | message time ?date
create | alarm clock | an alarm/a wake-up alarm | time ?weekday
create play | countdown timer | a timer/a countdown | minutes ?title
create | shopping list | a shopping list/a list for the shop | things ?title
create | todo entry | a task/a to-do entry/something to do | subject ?iso_date ?priority
get search | contact details | the contact details/the phone number/the contact | person ?company
create | contact | a contact/a new contact | person phone ?email
play | song | a song/the song/some music | title ?author
play search | podcast episode | a podcast/the podcast/an episode | title ?minutes
create | music playlist | a playlist/a music playlist | title ?genre
search | movies | movies/a film/a movie | genre ?year ?limit
get | movie cast | the cast/the actors of the movie | title ?year
get | song lyrics | the lyrics/the words of the song | title ?author
search | books | books/a book/novels | author ?genre ?limit
get | book summary | the summary of the book/what the book is about | title ?author
get | game score | the score/the result of the game | team ?date
get | league standings | the standings/the league table | team year
get | player statistics | the statistics/the stats of the player | player ?year
get | athlete ranking | the ranking/the rank of the athlete | player
search | sports schedule | the games/the match schedule | team ?month
convert translate | text language | the text/the sentence | text language ?source_language
check detect | spelling | the spelling/spelling mistakes | text ?language
analyze | text sentiment | the sentiment/the mood of the text | text
count calculate | word count | the number of words/how many words there are | text
get | word definition | the definition/the meaning of the word | query ?language
search | synonyms | synonyms/similar words | query ?limit
get | capital city | the capital/the capital city | country
get | country population | the population/how many people live there | country ?year
get | national holidays | the holidays/public holidays | country year
get | time zone | the time zone/the local time | city
get | historical event | what happened/the historical event | date ?country
get | planet data | data about the planet/facts on the planet | query ?output
search | research papers | papers/scientific articles/research papers | query ?year ?limit
search | job openings | jobs/job openings/open positions | city query ?amount
get | salary estimate | the salary/what the job pays | query city
search | apartments | apartments/a flat/an apartment | city ?price ?people
get calculate | property value | the value of the house/the property value | address
search | doctors | doctors/a doctor/a specialist | city ?category
book | doctor visit | a doctor's visit/an appointment with the doctor | person date ?time
calculate | body index | the body mass index/my bmi | weight height
calculate | calorie need | the calories I need/my calorie need | weight age ?height
create | workout plan | a workout plan/a training plan | days ?level
get | medicine dosage | the dose/the dosage of the medicine | item ?age
get | sleep report | how I slept/my sleep report | user_id ?date
update | room light | the light/the lights/the lamp | room on_off ?level
update | thermostat | the heating/the thermostat/the temperature | room degrees
play update | robot vacuum | the vacuum/the robot vacuum | room ?minutes
check | door lock | the door/if the door is locked | room
get | energy usage | the energy usage/how much power is used | device ?period
update | speaker volume | the volume/the sound level | level ?room
play | device program | the machine/the program of the machine | device ?minutes
get read | file content | the content of the file/what is in the file | file
delete | file | the file/that file | file ?folder
create | backup copy | a backup/a copy of the file | file folder
convert | document format | the document/the file | file output
search | files | files/documents | query ?folder ?limit
send | file upload | the file/a document | file url
get | server status | the status of the server/how the server is doing | id
update play | server | the server/the machine | id ?minutes
create | database record | a record/an entry in the database | id title
get query | database rows | rows/entries of the database | query limit ?sort
create | support ticket | a ticket/a support ticket | subject priority ?email
update | ticket state | the ticket/the status of the ticket | number_id status
get | bug report | the bug report/the bug | number_id
create | code branch | a branch/a new branch | title project
get list | project members | the members/who works on it | project
update | user profile | the profile/my user profile | user_id ?email ?phone
delete | user account | the account/the user's account | user_id
create | user account | an account/a user account | person email ?age
send update | password reset | a password reset/a new password | email
get | login history | the logins/the login history | user_id ?days
calculate | circle area | the area of a circle/the area of the circle | radius:num
calculate | rectangle perimeter | the perimeter of a rectangle/the way around the rectangle | width:num length:num
calculate | box volume | the volume of a box/the volume of the box | width:num height:num depth:num
calculate | triangle surface | the area inside a triangle/the surface of the triangle | base:num height:num
calculate | cylinder volume | the volume of a cylinder/how much the cylinder holds | radius:num height:num
calculate | line slope | the slope of the line/the slope | x1:num y1:num x2:num y2:num
calculate | quadratic roots | the roots of the equation/the roots | a:int b:int c:int
calculate | greatest divisor | the greatest common divisor/the largest common divisor | first:int second:int
calculate | number factorial | the factorial/the factorial of the number | number
check | prime number | if the number is prime/whether it is a prime number | number
calculate | prime factors | the prime factors/the factors | number
calculate | list average | the average/the mean | values
calculate | standard deviation | the standard deviation/the spread | floats ?sample:bool
calculate | list median | the median/the middle value | values
calculate | list sum | the sum/the total | values
calculate create | sorted list | the sorted list/the numbers in order | values ?descending:bool
calculate | power result | the power/the result of the power | base:int exponent:int
calculate | square root | the square root/the root | number ?precision:int
calculate | fibonacci series | the Fibonacci numbers/the Fibonacci series | limit
calculate | dice probability | the probability/the chance with dice | dice:int target:int
calculate | permutations | the permutations/the number of orders | n:int k:int
calculate | final speed | the final speed/the speed at the end | acceleration:num time:num ?start speed:num
calculate | kinetic energy | the kinetic energy/the energy of the motion | mass:num speed:num
calculate | falling time | the time of the fall/how long it falls | height:num ?gravity:num
calculate | electric force | the electric force/the force between the charges | charge:num distance:num
calculate | circuit resistance | the resistance/the resistance of the circuit | voltage:num current:num
calculate | wave frequency | the frequency/the frequency of the wave | speed:num wavelength:num
calculate | gas pressure | the pressure/the pressure of the gas | volume:num temperature:num moles:num
calculate | solution strength | the concentration/the strength of the solution | moles:num volume:num
calculate | fuel use | the fuel I need/how much fuel it takes | distance ?consumption:num
calculate | paint need | the paint I need/how much paint it takes | wall width:num wall height:num ?coats:int
calculate | carbon footprint | the carbon footprint/the emissions | distance ?mode
calculate | plant growth | the growth of the plant/how much the plant grows | days ?light hours:num
convert | length value | a length/the length | distance from unit:str to unit:str
convert | temperature value | a temperature/the temperature | degrees unit
convert | weight value | a weight/the weight | weight weight_unit
analyze | random number | a random number/a number at random | minimum:int maximum:int
analyze create | random password | a password/a random password | length:int ?include symbols:bool
create analyze | qr code | a QR code/the QR code | url ?color
create | line chart | a chart/a line chart | floats ?title ?color
create | bar plot | a bar plot/a bar chart | values ?title
get | gene sequence | the gene sequence/the sequence of the gene | id ?species:str
analyze | protein structure | the protein structure/the structure of the protein | id ?output
get | chemical formula | the formula/the chemical formula | item
get | animal habitat | the habitat/where the animal lives | animal
get | dog breed info | information on the breed/the dog breed | animal
search | pet adoption | pets to adopt/animals for adoption | city animal
get | satellite image | the satellite image/the picture from space | lat lon ?date
get | elevation data | the elevation/how high it is | lat lon
get | earthquake list | earthquakes/the earthquakes | country ?year ?minimum strength:num
get | court case | the court case/the case | id ?year
search | lawyers | lawyers/a lawyer | city ?category
get | law text | the law/the text of the law | query country
get | crime statistics | the crime rate/crime statistics | city year
search | museum exhibits | exhibitions/art exhibits | city author
get | painting details | details of the painting/the painting | title ?author
calculate | art value | the value of the artwork/the art value | author year ?size
create | character sheet | a character/a game character | title ?level
get | chess move | the best move/the next chess move | position:str ?depth:int
search | video games | games/video games | genre ?platform:str ?limit
get | guitar chords | the chords/the guitar chords | title
search | flights deals | cheap flights/flight deals | origin ?month ?price
book | spa treatment | a massage/a spa treatment | date time ?minutes
search | gyms | gyms/a gym/a place to train | city ?distance
get | parking spots | parking/parking spots | address ?hours
get | traffic report | the traffic/the traffic report | city ?time
get | fuel prices | gas prices/fuel prices | city
search | charging stations | charging stations/a place to charge my car | city ?distance
book | event venue | a venue/a place for the event | city date people
create | survey form | a survey/a form | title things
get | survey results | the results of the survey/the answers | number_id
create | online course | a course/an online course | title ?weeks:int ?language
search | courses | courses/classes/lessons | query ?level:str ?limit
get | student grades | the grades/the marks of the student | person ?subject
get | school ranking | the school ranking/the best schools | city ?limit
send create | newsletter | the newsletter/a newsletter | subject things
create | social post | a post/a social post | message ?things
get | follower count | the followers/the number of followers | title
get | video transcript | the transcript/the text of the video | url ?language
analyze | web page | the web page/the page | url
analyze | sales trend | the sales trend/how sales develop | item period
analyze | customer churn | the churn/how many customers leave | months:int ?group:str
get | election results | the election results/who won the election | country year
get | river length | the length of the river/how long the river is | item ?length_unit
get | mountain height | the height of the mountain/how high the mountain is | item ?length_unit
get | recipe cost | the cost of the recipe/what the dish costs | things ?people
search | wines | wines/a wine | country ?color ?price
get | plant care | care tips/how to care for the plant | item ?room
create | garden plan | a garden plan/a plan for my garden | width:num length:num ?things
get | bird sightings | bird sightings/birds that were seen | city ?date
search | hiking trails | hiking trails/a hike/trails | city ?distance ?level:str
get | ski conditions | the snow on the slopes/ski conditions | city ?date
get | water level | the water level/how high the water is | item ?date
"""


def _parse(catalogue: str) -> tuple[Concept, ...]:
    concepts = []
    for line in catalogue.strip().splitlines():
        verbs, name, phrases, parameters = (part.strip() for part in line.split("|"))
        known = tuple(v for v in verbs.split() if v in VERBS) or ("get",)
        concepts.append(
            Concept(
                known,
                tuple(name.split()),
                tuple(phrases.split("/")),
                tuple(_join_names(parameters)),
            )
        )
    return tuple(concepts)


def _join_names(parameters: str) -> list[str]:
    """Split at spaces, keeping the words of a several-word name (`start speed:num`) together."""
    parts: list[str] = []
    pending: list[str] = []
    from toolgain.tasks.generated.parameters import KINDS

    for word in parameters.split():
        if ":" in word:
            parts.append(" ".join([*pending, word]))
            pending = []
        elif word.lstrip("?") in KINDS:
            parts.append(word)
        else:
            pending.append(word)
    if pending:
        raise ValueError(f"unknown parameter kind {' '.join(pending)!r} in {parameters!r}")
    return parts


CONCEPTS = _parse(_CATALOGUE)

CHAT = (
    "Hello, how are you today?", "Hi there!", "Good morning, my friend.", "Thank you very much for your help.",
    "What is your favorite {noun}?", "Do you like {noun} or {noun}?", "Tell me a joke about a {noun}.",
    "Write a poem about the {noun}.", "Why is the {noun} so {adjective}?", "Who invented the {noun}?",
    "How does a {noun} work?", "What do you think about {noun}?", "Can you explain what a {adjective} {noun} is?",
    "What is the difference between a {noun} and a {noun}?", "My {noun} is {adjective}, what should I do?",
    "Who was the first person in {country} with a {noun}?", "When did {person} buy the {noun}?",
    "Is a {noun} bigger than a {noun}?", "How many {noun}s fit into a {noun}?", "Where can I keep my {noun}?",
    "Which {noun} does {person} like best?", "What happened to the {adjective} {noun} in {city}?",
    "I am {adjective} today.", "You are a {adjective} assistant.", "How old is {person}?", "What is {number} plus {number}?",
    "What color is a {noun}?", "How do I clean a {adjective} {noun}?", "Who wrote '{title}'?", "Explain the {noun} to a child.",
    "What are the main causes of a {noun}?", "Please write a story with a {noun} and a {noun}.",
    "Should I visit {city} or {city}?", "What does {company} do?", "Is {company} a good company?", "How can I become a {adjective} {noun}?",
    "What is the history of the {noun} in {country}?", "Why do people in {country} love the {noun}?",
    "Tell me something about {person}.", "What is the best way to repair a {noun}?", "Do I need a {noun} for my {noun}?",
)  # fmt: skip
