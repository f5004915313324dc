# ruff: noqa: E501, SIM905
"""The words that tasks and pre-training text are made of: plain lists, no logic.

Everything was written for this package. The lists are wide on purpose: a model that has seen a
word in one role (a tool's name) must recognise it in another (a question about it).
"""

from __future__ import annotations

NOUNS = tuple(
    """
account acid actor address adventure advert age agency agenda agent agreement aid air airline airport alarm album
alert alliance alloy almond altitude ambulance amount amplifier analysis anchor angle animal ankle answer antenna
apartment app apple application appointment apron aquarium arch archive area arena argument arm army arrow art article
artist asset assistant asteroid athlete atlas atom attic auction audience audio audit author avalanche avatar average
award axis bag baker bakery balance balcony ball ballot bamboo banana band bandwidth bank banner bar barn barrel base
basement basin basket bat batch bath battery battle bay beach beam bean bear beard bed bee beetle bell belt bench
benefit berry bicycle bid bill bin bird birth biscuit bishop blade blanket block blood blossom board boat body boiler
bolt bond bone bonus book boot border boss bottle boundary bowl box bracket brain brake branch brand bread breakfast
breath breeze brick bridge brief broadcast broker brush bubble bucket budget buffer bug builder building bulb bull
bullet bus bush business butter button buyer cabin cabinet cable cactus cake calendar call camera camp campaign canal
candidate candle canvas canyon cap capacity capital captain car carbon card career cargo carpet carrot cart cartoon
case cash castle cat catalog cattle cave ceiling cell cement census center century ceremony certificate chain chair
chalk challenge champion chance channel chapter character charge chart charter chat check cheese chef chemical cherry
chest chicken child chimney chip chocolate choice choir church cinema circle circuit city claim class classroom clay
client cliff climate clinic clock cloth cloud club coach coal coast coat code coffee coin collar collection college
color column comet comment commission committee community company compass complaint component composer computer concert
concrete condition conference connection contact container content contest contract contractor copper copy coral cord
core corn corner corridor cost cottage cotton council counter country county coupon course court cousin cover cow crab
cradle craft crane crater cream creature credit creek crew cricket crime crop crossing crowd crown cruise crystal cube
cup cupboard curb currency current curriculum curtain curve cushion custom customer cycle cylinder dam dance danger
dashboard data database date dealer debate debt decade deck decree deer defect degree delay delivery demand density
dentist department deposit depth desert design desk dessert detail detective device diagram dialect diamond diary diet
dinner dinosaur direction director directory discount discovery discussion disease dish disk display distance district
dividend division doctor document dog doll dollar dolphin domain donation donor door dose draft dragon drain drama
drawer drawing dream dress drill drink driver drone drought drum duck duration dust duty eagle ear earthquake east
echo eclipse economy edge editor education effect egg election electron elephant elevation elevator email embassy
emission employee employer energy engine engineer enterprise entrance entry envelope episode equation equipment error
essay estate estimate evening event evidence exam exchange exhibit exhibition expense experiment expert export
extension eye fabric face factor factory fair family fan fare farm farmer fashion father fault feather feature fee
feedback fence ferry festival fever fiber field fig figure file film filter finance finger fire firm fish flag flame
flavor fleet flight flood floor flour flow flower fluid flute fog folder food foot football force forecast forest fork
form formula fort fortune forum fossil foundation fountain fox fraction fragment frame freezer freight frequency
friend frog frost fruit fuel function fund funeral furnace furniture future gallery game gap garage garden garlic gas
gate gauge gear gem gene generator genre ghost giant gift giraffe glacier glass globe glove glue goal goat gold golf
goose governor grade graduate grain grammar grant grape graph grass gravity greenhouse grid grocery ground group
growth guard guest guide guitar gym habit habitat hail hair hall hammer hamster hand handle harbor hardware harvest
hat hazard head headline health heart heat hedge height helicopter helmet herb hero highway hill hinge history hive
hobby hockey hole holiday home honey hood hook horizon horn horse hospital host hostel hotel hour house household
hurricane ice icon idea image impact import impulse incident income index industry inflation ingredient injury ink
inn insect inspection inspector institute instrument insulin insurance interest internet interval interview invention
inventory investment investor invitation invoice iron island item ivory jacket jail jam jar jaw jazz jet jewel job
journal journey judge juice jump jungle jury kettle key keyboard kidney kingdom kitchen kite knee knife knot label
labor laboratory ladder lake lamb lamp land lane language laptop laser laundry lawn lawyer layer layout lead leader
leaf league leak lease leather lecture ledger leg legend lemon lens lesson letter level library license lid light
lightning limit line link lion liquid list literature liver lizard load loan lobby lobster location lock locker log
lottery lounge lunch lung machine magazine magnet mail mailbox manager mango mansion manual map marathon marble march
margin market marriage mask mass master match material matrix mayor meadow meal measure meat mechanic medal medicine
meeting melody melon member membrane memo memory menu merchant message metal meteor meter method microscope midnight
milk mill mine mineral minister minute mirror missile mission mixture model modem module moisture molecule moment
money monitor monkey month monument mood moon mortgage mosque moss motel moth mother motion motor mountain mouse mouth
movie mud muscle museum mushroom music musician mystery nail name narrative nation nature neck needle neighbor
neighborhood nerve nest network newspaper night noise north nose note notebook notice notification novel nucleus
number nurse nut oak object ocean offer office officer oil olive onion opera operator opinion option orange orbit
orchard orchestra order organ organization origin oven owl owner ox oxygen oyster package packet page paint painting
pair palace palm pan panda panel paper parade paragraph parcel parent park parking parliament parrot part particle
partner party pass passage passenger passport password pasta paste pasture patch patent path patient pattern payment
payroll peach peak peanut pearl pedal pen penalty pencil pension pepper performance perfume period permit person pet
phone photo phrase piano pickup picnic picture pie piece pig pigeon pile pill pillow pilot pin pine pipe pipeline
pitch pizza plan plane planet plant plastic plate platform player playlist plot plug plum pocket podcast poem poet
point poison police policy poll pollution pond pony pool population port portfolio portrait position post postcard
poster pot potato pottery powder power prescription present president pressure price priest prince printer prison
prize probability problem procedure process producer product profession professor profile profit program project
promotion property proposal protein protest province pump pumpkin pupil purchase puzzle pyramid quality quantity
quarry quarter queen query quest question queue quiz quota quote rabbit race rack radar radiation radio radius rail
railway rain rainbow ram ranch range rank rate ratio raven ray reaction reactor reader realm rebate receipt receiver
recipe record recycling reef referee reference refund region register relation relay religion rent repair report
reporter request rescue research reserve reservoir resident resistance resort resource response restaurant result
resume retailer revenue review reward rhythm ribbon rice rider ridge rifle ring river road robot rock rocket role roll
roof room root rope rose roster route router row royalty rubber rug ruin rule runner runway saddle safety sail sailor
salad salary sale salmon salon salt sample sand sandwich satellite sauce sauna saw scale scan scandal scarf scene
schedule scheme scholar scholarship school science scientist scooter score screen screw script sculpture sea seal
search season seat secret section sector security seed segment seller seminar sensor sentence sequence series server
service session shade shadow shaft shape share shark sheep sheet shelf shell shelter shield shift ship shipment shirt
shoe shop shore shoulder shovel show shower shrimp shrine shuttle sidewalk signal signature silk silver singer sink
site sketch ski skill skin skirt sky slide slope smoke snack snail snake snow soap soccer society socket sock sofa
software soil soldier solution song sound soup source south space spark speaker species speech speed spice spider
spinach spoon sport spring square squirrel stable stadium staff stage stair stamp standard star statement station
statue status steam steel stem step stock stomach stone stool storage store storm story stove strategy strawberry
stream street string structure student studio subject submarine subscription suburb subway sugar suit suite summary
summer summit sun supermarket supper supplier supply surface surfer surgeon surgery survey swamp swan sweater
switch sword symbol symphony symptom system table tablet tag tail talent talk tank tape target tariff task tax taxi tea
teacher team technique telephone telescope television temperature temple tenant tennis tent term terminal terrace
territory test text textbook texture theater theme theorem theory thermostat thesis thread thumb thunder ticket tide
tiger tile timber time timer tip tire title toast tobacco toe toilet token toll tomato tomb tongue tool tooth topic
torch tornado tour tourist tournament towel tower town toy track tractor trade tradition traffic trail trailer train
trainer transaction transcript transfer transit translation transport trap treasure treaty tree trend trial triangle
tribe trick trip troop trophy truck trumpet trunk trust tube tulip tuna tunnel turbine turkey turtle tutor twin type
umbrella uncle uniform union unit universe university upload usage user utility vacation vaccine valley value valve
van variable vault vector vegetable vehicle vendor venue verb verse vessel veteran victim video view village vine
vineyard violin virus visa vision visitor vitamin voice volcano voltage volume volunteer vote voter voucher voyage wage
wagon waist waiter wall wallet walnut war wardrobe warehouse warning warranty wash waste watch water waterfall wave wax
weapon weather website wedding weed week weight well west whale wheat wheel whistle wife wildlife wind window wine wing
winner winter wire wolf wood wool word workflow worker workout workshop world worm wrist writer yacht yard year yeast
yield yoga zebra zone zoo
""".split()
)

ADJECTIVES = tuple(
    """
able absolute active actual advanced annual approximate armed automatic available basic big binary bitter blue bold
brave brief bright broad broken brown busy calm central certain cheap clean clear clever close cold common compact
complete complex constant cool corporate correct current custom daily damp dark deep default dense digital direct
distant domestic double dry due early eastern easy elastic electric empty equal exact expected expensive external
extra famous fast favorite federal final fine first fixed flat foreign formal free frequent fresh friendly frozen full
general gentle global golden good grand gray great green gross half happy hard healthy heavy hidden high historical
hollow hot huge human hybrid ideal idle immediate industrial initial inner internal joint junior kind large last late
leading left legal light linear liquid little live local lonely long loose loud low lower lucky magnetic main major
manual marine maximum mean medical medium mental middle mild military minimum minor mobile modern monthly moral
multiple musical narrow national natural near neat negative net neutral new next noisy nominal normal northern nuclear
old online open optical optimal oral ordinary outdoor outer overall past perfect personal physical plain pleasant
popular positive possible potential practical precise preferred previous primary private proper public pure quick
quiet random rapid rare raw ready real recent red regional regular relative reliable remote rich right rigid round
royal rural safe scenic secondary senior separate serious shallow sharp short silent similar simple single slow small
smart smooth social soft solar solid southern spare special specific stable standard steady steep stiff straight strict
strong sudden sweet tall technical temporary thermal thick thin tight tiny total tough tropical typical unique upper
urban urgent useful usual valid vertical vintage virtual visual warm weak weekly western wet white whole wide wild wise
wooden yearly yellow young
""".split()
)

FIRST_NAMES = tuple(
    """
Aaron Abigail Adam Aisha Alan Alex Alice Amara Amir Amy Ana Andre Andrew Angela Anita Anna Antonio Arjun Arthur Ava
Beatriz Ben Bianca Boris Brian Bruno Camila Carla Carlos Caroline Cecilia Chen Chloe Claire Clara Daniel David Deepa
Diana Diego Dmitri Dora Edgar Eduardo Elena Eli Elias Elif Elise Ella Emil Emily Emma Eric Erin Esther Ethan Eva
Farid Fatima Felix Fiona Frank Freya Gabriel George Grace Greta Hana Hannah Harold Hassan Hector Helen Henry Hiro Hugo
Ian Ibrahim Ida Igor Imani Ines Ingrid Irene Isaac Isabel Ivan Jack Jacob James Jamal Jan Jane Jasmine Javier Jean
Jenna Jin Joan John Jonas Jorge Joseph Joy Juan Julia Kai Karen Karim Kate Kenji Kim Kofi Lara Laura Layla Leah Lena
Leo Lia Liam Lily Linda Louis Lucas Lucia Luis Luna Magnus Maja Marco Maria Marie Mark Martin Mateo Maya Mei Mia
Michael Miguel Mila Mina Mohamed Mona Nadia Naomi Nina Noah Noor Nora Oliver Olga Omar Oscar Pablo Paul Paula Pedro
Peter Petra Philip Pia Priya Rachel Rafael Rahul Ravi Rita Robert Rosa Ruth Sam Samira Sara Sean Selma Simon Sofia
Stefan Sven Tara Theo Thomas Tina Tom Uma Vera Victor Viktor Wei Will Yara Yuki Yusuf Zara Zoe
""".split()
)

LAST_NAMES = tuple(
    """
Abbott Adler Ahmed Alvarez Anders Baker Barnes Bauer Becker Bennett Berg Bishop Blake Brandt Brooks Brown Bryant
Calder Campbell Carter Castillo Chan Chavez Clark Cole Collins Cook Cooper Costa Cruz Dalton Davies Delgado Diaz Dixon
Duarte Dunn Eriksen Evans Farrell Fischer Fleming Flores Ford Foster Fox Garcia Gibson Gomez Graham Grant Gray Green
Gupta Haas Hale Hall Hansen Harper Hart Hayes Hill Holt Howard Hughes Hunt Ivanov Jensen Jones Kaur Keller Kelly Khan
Kim Klein Koch Kumar Lambert Lang Larsen Lee Lewis Lind Lopez Lund Marsh Mason Meyer Miller Mills Moore Moreno Morris
Murphy Nakamura Nash Nguyen Nielsen Novak Olsen Ortiz Owens Park Parker Patel Perez Peters Petrov Pham Pierce Quinn
Ramos Reed Reyes Rivera Roberts Rojas Rossi Russo Ryan Sanders Santos Sato Schmidt Scott Shah Sharma Silva Singh Smith
Stone Suzuki Tanaka Taylor Thomas Torres Tran Turner Vargas Vega Wagner Walker Wang Ward Weber White Wilson Wolf Wong
Wood Wright Yang Young Zhang Ziegler
""".split()
)

CITIES = tuple(
    name.replace("_", " ")
    for name in """
Aarhus Accra Adelaide Amsterdam Ankara Antwerp Athens Atlanta Auckland Austin Baltimore Bangkok Barcelona Basel Beijing
Belgrade Bergen Berlin Bilbao Bogota Bologna Boston Brisbane Bristol Brussels Bucharest Budapest Cairo Calgary
Canberra Cape_Town Cardiff Casablanca Chicago Cleveland Cologne Copenhagen Cusco Dakar Dallas Delhi Denver Detroit
Doha Dresden Dubai Dublin Durban Edinburgh Florence Frankfurt Geneva Genoa Ghent Glasgow Granada Guadalajara Hamburg
Hanoi Havana Helsinki Hong_Kong Honolulu Houston Istanbul Jakarta Jerusalem Johannesburg Karachi Kigali Kingston Krakow
Kyoto La_Paz Lagos Las_Vegas Leeds Leipzig Lima Lisbon Liverpool London Los_Angeles Lyon Madrid Malaga Manchester
Manila Marrakesh Marseille Melbourne Memphis Mexico_City Miami Milan Minneapolis Monterrey Montreal Moscow Mumbai Munich
Nairobi Naples New_Orleans New_York Nice Oaxaca Orlando Osaka Oslo Ottawa Palermo Panama_City Paris Perth Philadelphia
Phoenix Pittsburgh Porto Portland Prague Quebec Quito Reykjavik Riga Rio_de_Janeiro Rome Rotterdam Salzburg San_Diego
San_Francisco San_Jose Santiago Sao_Paulo Sapporo Seattle Seoul Seville Shanghai Singapore Sofia Stockholm Stuttgart
Sydney Taipei Tallinn Tampa Tbilisi Tokyo Toronto Toulouse Tucson Tunis Turin Utrecht Valencia Vancouver Venice Verona
Vienna Vilnius Warsaw Wellington Winnipeg Zagreb Zurich
""".split()
)

COUNTRIES = tuple(
    name.replace("_", " ")
    for name in """
Argentina Australia Austria Bangladesh Belgium Bolivia Brazil Bulgaria Cambodia Canada Chile China Colombia Costa_Rica
Croatia Cuba Cyprus Denmark Ecuador Egypt Estonia Ethiopia Finland France Georgia Germany Ghana Greece Hungary Iceland
India Indonesia Iran Iraq Ireland Israel Italy Jamaica Japan Jordan Kenya Kuwait Laos Latvia Lebanon Malaysia Mexico
Mongolia Morocco Nepal Netherlands New_Zealand Nigeria Norway Oman Pakistan Panama Peru Philippines Poland Portugal
Qatar Romania Rwanda Saudi_Arabia Senegal Serbia Singapore Slovakia South_Africa South_Korea Spain Sri_Lanka Sweden
Switzerland Taiwan Tanzania Thailand Tunisia Turkey Uganda Ukraine United_Kingdom United_States Uruguay Vietnam Zambia
""".split()
)

STREETS = ("Street", "Avenue", "Road", "Lane", "Drive", "Boulevard", "Square", "Court")

COMPANIES = tuple(
    """
Acme Aldra Apex Arcadia Astra Atlas Aurora Beacon Borealis Brightside Cascade Cobalt Corvus Crestline Delphi Drift
Echo Ember Everest Falcon Fathom Fjord Foundry Galaxy Granite Harbor Helios Horizon Hyperion Indigo Juniper Keystone
Lantern Lumen Lynx Maple Meridian Mosaic Nebula Nimbus Northwind Nova Oakridge Obsidian Onyx Orion Osprey Paragon
Pinnacle Polaris Quanta Quartz Raven Redwood Sapphire Sierra Solstice Spectra Stellar Summit Tandem Tempest Titan
Trident Umbra Vantage Vega Vertex Vista Willow Zenith Zephyr
""".split()
)

CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "INR", "CNY", "SEK", "NOK", "BRL")

LANGUAGES = tuple(
    """
Arabic Bengali Catalan Chinese Czech Danish Dutch English Finnish French German Greek Hebrew Hindi Hungarian Italian
Japanese Korean Latin Norwegian Persian Polish Portuguese Romanian Russian Spanish Swahili Swedish Tamil Thai Turkish
Ukrainian Urdu Vietnamese
""".split()
)

COLORS = tuple(
    "black blue brown crimson cyan gold gray green ivory lime magenta maroon navy olive orange "
    "pink purple red silver teal turquoise violet white yellow".split()
)

MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)

WEEKDAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip

ONSETS = tuple(
    "b br c ch cl d dr f fl g gl gr h j k kr l m n p pl qu r s sh sk st t tr v w x y z".split()
)
VOWELS = tuple("a e i o u ai ea ee ia io oa ou".split())
CODAS = (
    "",
    "",
    "",
    "b",
    "ck",
    "d",
    "l",
    "m",
    "n",
    "nd",
    "ng",
    "p",
    "r",
    "rt",
    "s",
    "sk",
    "t",
    "th",
    "x",
)
