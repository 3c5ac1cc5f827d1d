"""The catalogue: one nested JSON document, sellers with their products."""

import json
from typing import Any

import numpy as np

from kestrel.draws import Draws, rows_of
from kestrel.names import CITIES, GOODS, LAST_NAMES, MAKES, SELLER_WORDS, TAGS
from kestrel.planted import Truth
from kestrel.planting import plant
from kestrel.settings import CLEAN, codes
from kestrel.shop import Shop, product_id, seller_id
from kestrel.writing import Landing

_KIND = codes("products")
PATH = "products/products_2025-07-01.json"


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write the catalogue as it stood when the period began."""
    draws = Draws(shop.seed, "products")
    products, kinds = _products(shop, draws)
    truth.count("products", kinds)
    document = {
        "exported_at": "2025-07-01T00:00:00Z",
        "sellers": [
            {
                "seller_id": seller_id(seller),
                "name": f"{SELLER_WORDS[word]} {LAST_NAMES[name]}",
                "city": CITIES[city].name,
                "rating": rating / 10,
                "products": [product for owner, product in products if owner == seller],
            }
            for seller, word, name, city, rating in rows_of(
                range(shop.sellers),
                draws.whole(0, len(SELLER_WORDS) - 1, shop.sellers),
                draws.whole(0, len(LAST_NAMES) - 1, shop.sellers),
                draws.whole(0, len(CITIES) - 1, shop.sellers),
                draws.whole(31, 50, shop.sellers),
            )
        ],
    }
    text = landing.text(PATH)
    text.write([json.dumps(document, ensure_ascii=False, indent=2)], rows=len(products))
    landing.close(PATH, text, arrived=0)


def _products(shop: Shop, draws: Draws) -> tuple[list[tuple[int, dict[str, Any]]], list[int]]:
    """Return (seller, product) for each product, and the code of what is planted in it."""
    goods, count = shop.goods, len(shop.goods)
    kinds = np.full(count, CLEAN)
    every = np.ones(count, dtype=bool)
    plant(shop.settings, "products", draws, kinds, price_text=every, missing_category=every)
    variant = draws.whole(0, 1, count).tolist()
    make = draws.whole(0, len(MAKES) - 1, count).tolist()
    weight = (draws.whole(2, 60, count) * 50).tolist()
    organic = draws.chance(300_000, count).tolist()
    chilled = draws.chance(250_000, count).tolist()
    tags = draws.whole(0, len(TAGS) - 1, 2 * count).tolist()
    products = []
    for k in range(count):
        category, items, _, _ = GOODS[goods.category[k]]
        cents = int(goods.price[k])
        product: dict[str, Any] = {
            "product_id": product_id(k),
            "name": f"{MAKES[make[k]]} {items[goods.item[k]]}",
            "category": category,
            "price": {"amount": cents / 100, "currency": "EUR"},
            "attributes": {"weight_g": weight[k], "organic": organic[k], "chilled": chilled[k]},
            "tags": list(dict.fromkeys(TAGS[tag] for tag in tags[2 * k : 2 * k + 1 + k % 2])),
        }
        if kinds[k] == _KIND["price_text"]:
            whole = f"{cents // 100}.{cents % 100:02d}"
            product["price"]["amount"] = whole if variant[k] else f"{whole.replace('.', ',')} €"
        elif kinds[k] == _KIND["missing_category"]:
            product["category"] = None
            if variant[k]:
                del product["category"]
        products.append((int(goods.seller[k]), product))
    return products, kinds.tolist()
