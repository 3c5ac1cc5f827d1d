"""The names that people, places and goods are made of. All of them exist in Latin-1."""

from typing import NamedTuple


class City(NamedTuple):
    """A city; the coordinates are text, so that they are written digit for digit."""

    name: str
    postcode: str
    lat: str
    lon: str


# Where customers and lockers are
CITIES = (
    City("Köln", "50", "50.9375", "6.9603"),
    City("München", "80", "48.1351", "11.5820"),
    City("Düsseldorf", "40", "51.2277", "6.7735"),
    City("Berlin", "10", "52.5200", "13.4050"),
    City("Hamburg", "20", "53.5511", "9.9937"),
    City("Nürnberg", "90", "49.4521", "11.0767"),
    City("Wien", "11", "48.2082", "16.3738"),
    City("Leipzig", "04", "51.3397", "12.3731"),
    City("Gent", "91", "51.0543", "3.7174"),
    City("Liège", "41", "50.6326", "5.5797"),
    City("Utrecht", "35", "52.0907", "5.1214"),
    City("Orléans", "45", "47.9030", "1.9093"),
    City("Besançon", "25", "47.2378", "6.0241"),
    City("Lyon", "69", "45.7640", "4.8357"),
    City("Málaga", "29", "36.7213", "-4.4214"),
    City("Córdoba", "14", "37.8882", "-4.7794"),
    City("Évora", "70", "38.5714", "-7.9135"),
    City("Porto", "41", "41.1579", "-8.6291"),
    City("Jyväskylä", "40", "62.2426", "25.7473"),
    City("Turku", "20", "60.4518", "22.2666"),
)
# How many customers live there, in proportion
CITY_SIZES = (10, 13, 8, 16, 12, 6, 11, 4, 4, 3, 5, 3, 2, 7, 4, 3, 1, 4, 2, 3)

# Where nobody lives, but trips and stolen cards lead
FAR_CITIES = (
    City("Reykjavík", "101", "64.1466", "-21.9426"),
    City("New York", "100", "40.7128", "-74.0060"),
    City("Toronto", "M5H", "43.6532", "-79.3832"),
    City("São Paulo", "010", "-23.5505", "-46.6333"),
    City("Dubai", "000", "25.2048", "55.2708"),
    City("Singapore", "018", "1.3521", "103.8198"),
    City("Sydney", "200", "-33.8688", "151.2093"),
    City("Tokyo", "100", "35.6762", "139.6503"),
)
ALL_CITIES = CITIES + FAR_CITIES

FIRST_NAMES = (
    "Anna", "Jürgen", "Zoë", "José", "Marie", "Lukas", "Inês", "Noël", "Greta", "Søren",
    "Chloé", "Björn", "Elena", "Mateo", "Käthe", "Paul", "Léa", "Jörg", "Sofía", "Emil",
    "Amélie", "André", "Birgit", "Céline", "Dörte", "Eero", "François", "Helena", "Iñaki", "João",
    "Klara", "Lars", "Märta", "Nuño", "Olga", "Päivi", "Raúl", "Sabine", "Théo", "Ursula",
)  # fmt: skip
LAST_NAMES = (
    "Müller", "García", "Jansen", "Lefèvre", "Schröder", "Gonçalves", "Nuñez", "Weiß", "Dubois", "Virtanen",
    "Fernández", "Groß", "Peeters", "Bäcker", "Lambert", "Mäkinen", "Silva", "König", "Moreau", "Åberg",
    "Hofer", "Ibáñez", "Krüger", "Leclerc", "Magalhães", "Neumann", "Østergaard", "Pérez", "Quinn", "Römer",
    "Sánchez", "Thömmes", "Urban", "Vögele", "Wagner", "Yáñez", "Zimmermann", "Böhm", "Claes", "Diaz",
    "Eklöf", "Faßbender", "Gérard", "Huber", "Isaksson", "Jäger", "Korhonen", "Löwe", "Martín", "Nyström",
)  # fmt: skip

# Category, its goods, and the range of prices in cents
GOODS = (
    ("bakery", ("Rye loaf", "Baguette", "Croissants", "Bagels", "Oat rolls"), 149, 549),
    ("dairy", ("Whole milk", "Oat drink", "Gruyère", "Butter", "Greek yoghurt"), 99, 799),
    ("fruit", ("Apples", "Bananas", "Blood oranges", "Blueberries", "Pears"), 129, 599),
    ("vegetables", ("Carrots", "Tomatoes", "Spinach", "Leeks", "Jalapeños"), 89, 449),
    ("meat", ("Chicken thighs", "Minced beef", "Bratwurst", "Jamón", "Lamb chops"), 399, 1899),
    ("fish", ("Salmon fillet", "Sardines", "Cod", "Smoked trout", "Prawns"), 299, 1999),
    ("pasta", ("Spaghetti", "Penne", "Gnocchi", "Lasagne sheets", "Pesto"), 99, 549),
    ("breakfast", ("Muesli", "Porridge oats", "Honey", "Crème de marrons", "Maple syrup"), 179, 899),
    ("drinks", ("Coffee beans", "Green tea", "Apple juice", "Sparkling water", "Maté"), 79, 1599),
    ("snacks", ("Dark chocolate", "Salted almonds", "Crisps", "Turrón", "Rice cakes"), 119, 699),
    ("household", ("Dish soap", "Paper towels", "Bin bags", "Laundry liquid", "Candles"), 149, 1299),
    ("baby", ("Nappies", "Carrot purée", "Wipes", "Milk powder", "Rusks"), 129, 1799),
)
MAKES = ("Kestrel", "Hof Ährental", "Le Marché", "Norðri", "Casa Peña", "Fjord", "Grüner Daumen", "Baía")
TAGS = ("vegan", "gluten-free", "new", "family", "local", "seasonal", "fair-trade", "frozen")
SELLER_WORDS = ("Hof", "Markt", "Épicerie", "Bodega", "Mühle", "Gård", "Quinta", "Feinkost")
