"""Write the tables of docs/tutorial.md: docs/orders.csv and docs/new-orders.csv.

    python tools/orders.py

They are made up, with the faults that exports of shops have: a byte order mark, semicolons, decimal
commas, three marks of missing cells, numbers of 19 digits, dates, a column that is the same in all
rows, cities of which some are there once, rows whose outcome is not known. What is returned depends
on the size, the days of the delivery, the discount and whether it was a gift.
"""

import math
import random
from datetime import date, timedelta
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
N_ROWS, N_NEW = 800, 6
NAMES = ["order", "parcel", "ordered", "shop", "city", "size", "price", "discount %", "days",
         "gift", "returned"]
SIZES = {"XS": 1.0, "S": -0.6, "M": -1.0, "L": -0.6, "XL": 0.9}
BIG = ("Berlin", "Hamburg", "München", "Köln", "Frankfurt am Main", "Leipzig", "Wien", "Zürich")
SMALL = tuple(
    f"{first}{last}"
    for first in ("Alt", "Neu", "Ober", "Unter", "Bad ", "Hohen", "Nieder", "Klein")
    for last in ("burg", "dorf", "feld", "hausen", "kirchen", "stadt", "walde"))


def order(number, draw):
    """The cells of one order, by NAMES, and whether it came back."""
    size, price = draw.choice([*SIZES]), 8 + 60 * -math.log(1 - draw.random())
    discount, days = draw.choice([0, 0, 0, 10, 15, 30]), 1 + int(-3 * math.log(1 - draw.random()))
    gift = draw.random() < 0.2
    z = SIZES[size] + 0.22 * (days - 4) - 0.06 * discount - 1.6 * gift + 0.012 * (price - 60)
    back = draw.random() < 1 / (1 + math.exp(-1.6 * z))
    day = date(2025, 1, 6) + timedelta(days=number * 330 // N_ROWS)
    city = draw.choice(BIG) if draw.random() < 0.8 else draw.choice(SMALL)
    return {"order": f"{number}", "parcel": f"{7340434161094000000 + 9973 * number}",
            "ordered": f"{day:%d.%m.%Y}", "shop": "web", "city": city, "size": size,
            "price": german(price, 2), "discount %": german(discount, 1), "days": f"{days}",
            "gift": "yes" if gift else "no", "returned": "yes" if back else "no"}


def german(number, places):
    """The number 1249.9 as 1.249,90."""
    return f"{number:,.{places}f}".translate(str.maketrans(",.", ".,"))


def spoiled(cells, draw):
    """The cells, some of them missing."""
    for name, share, mark in (("days", 0.08, "NA"), ("size", 0.05, ""), ("price", 0.03, "-"),
                              ("returned", 0.03, "")):
        if draw.random() < share:
            cells[name] = mark
    return cells


def tables():
    """{name of a file: its text}."""
    draw = random.Random(1)
    rows = [spoiled(order(number, draw), draw) for number in range(1, N_ROWS + 1)]
    new = [order(number, draw) for number in range(N_ROWS + 1, N_ROWS + N_NEW + 1)]
    new[1]["days"], new[2]["city"], new[4]["days"] = "NA", "Sankt Gallen", "NA"
    new_names = ["parcel", "order", *NAMES[2:-1]]
    return {"orders.csv": "\ufeff" + written(NAMES, rows),
            "new-orders.csv": written(new_names, new)}


def written(names, rows):
    return "".join(";".join(line) + "\r\n" for line in [
        names, *([row[name] for name in names] for row in rows)])


if __name__ == "__main__":
    for name, text in tables().items():
        (DOCS / name).write_bytes(text.encode())
