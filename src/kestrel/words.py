"""The words of customer service and of those who write to it: pairs are English and German."""

SUBJECTS = {
    "late_delivery": ("Where is my order?", "Wo bleibt meine Bestellung?"),
    "missing_item": ("Something is missing", "Es fehlt etwas"),
    "damaged_item": ("Arrived broken", "Kaputt angekommen"),
    "refund": ("Money not back yet", "Geld noch nicht zurück"),
    "invoice": ("Question about an invoice", "Frage zur Rechnung"),
    "login": ("I cannot log in", "Ich kann mich nicht anmelden"),
}
SUBJECTS_WITH_NAME = ("Complaint of {}", "Beschwerde von {}")
OPENERS = {
    "late_delivery": (
        ("The parcel should have been here yesterday.", "Nobody came, and the locker is empty."),
        ("Das Paket sollte gestern hier sein.", "Niemand kam, und das Fach ist leer."),
    ),
    "missing_item": (
        ("The oat rolls were not in the bag.", "I paid for two and got one."),
        ("Die Haferbrötchen waren nicht dabei.", "Ich habe zwei bezahlt und eines bekommen."),
    ),
    "damaged_item": (
        ("The jar of honey was broken.", "The box was wet and the muesli with it."),
        ("Das Honigglas war zerbrochen.", "Der Karton war nass und das Müsli auch."),
    ),
    "refund": (
        ("I sent it back two weeks ago.", "The refund was promised for Monday."),
        ("Ich habe es vor zwei Wochen zurückgeschickt.", "Die Erstattung war für Montag versprochen."),
    ),
    "invoice": (
        ("The invoice shows an amount that I do not know.", "I need the invoice once more."),
        ("Die Rechnung nennt einen Betrag, den ich nicht kenne.", "Ich brauche die Rechnung noch einmal."),
    ),
    "login": (
        ("The page says that my account is locked.", "The link in your mail has expired."),
        ("Die Seite sagt, mein Konto sei gesperrt.", "Der Link in Ihrer Mail ist abgelaufen."),
    ),
}
PERSONAL = {
    "email": ("Please write to {} instead.", "Bitte antworten Sie an {}."),
    "phone": ("You can reach me on {} after six.", "Sie erreichen mich ab 18 Uhr unter {}."),
    "card": ("I paid with the card {}.", "Bezahlt habe ich mit der Karte {}."),
    "iban": ("Please send the money to {}.", "Bitte überweisen Sie auf {}."),
    "name": ("Kind regards, {}", "Viele Grüße, {}"),
}
LOOK_ALIKES = {
    "order_number": ("Your mail has the number {}.", "In Ihrer Mail steht die Nummer {}."),
    "luhn_by_chance": ("The slip has the number {}.", "Auf dem Zettel steht die Nummer {}."),
    "tracking": ("The tracking number is {}.", "Die Sendungsnummer ist {}."),
    "iban_like": ("My statement shows the code {}.", "Auf dem Auszug steht der Code {}."),
    "date": ("It was ordered on {}.", "Bestellt wurde am {}."),
    "product_number": ("The label says {}.", "Auf dem Etikett steht {}."),
    "user_at_host": ("The page showed: refused by {}.", "Die Seite zeigte: refused by {}."),
    "handle": ("I had asked {} before.", "Ich hatte schon {} gefragt."),
}
NOTES = (
    "Checked the order.",
    "Asked for a photo.",
    "Apologised.",
    "Sent on to the next shift.",
    "Called back.",
)
PERSONAL_NOTES = {
    "card": "Card on the screenshot: {}.",
    "iban": "Refund goes to {}.",
    "phone": "Wants a call on {}.",
    "name": "Spoke with {}.",
}
NOTED_LOOK_ALIKES = {
    "luhn_by_chance": "Carrier's shipment {}.",
    "user_at_host": "Mail was bounced by {}.",
    "order_number": "See number {}.",
}
STREETS = (
    "Ährenweg",
    "Kornstraße",
    "Rue du Moulin",
    "Hafenstraße",
    "Calle del Río",
    "Lindenallee",
    "Mühlgasse",
)
TAGS = ("first contact", "again", "urgent", "polite", "photo", "voucher")
ATTACHED = ("A photo of a broken jar.", "A photo of an empty locker.", "A screenshot of the basket.")
# Cities whose customers write in German
GERMAN = ("Köln", "München", "Düsseldorf", "Berlin", "Hamburg", "Nürnberg", "Wien", "Leipzig")
