"""Wrong answers to the exercises of chapter 00, and what each is told."""

from functools import partial

NEEDS = ("setup",)  # the update of scratch.orders binds no name

BEFORE = "scratch.orders VERSION AS OF 0"
SPENT = "SELECT customer, sum(total_cents) AS spent_cents FROM"


def frame(query, lesson):
    return lesson.spark.sql(query)


QUERIES = [
    (
        "before_the_change",
        "SELECT * FROM scratch.orders",
        "Order 4 costs 990 cents in your answer: that is after the update.",
    ),
    (
        "before_the_change",
        f"SELECT * FROM {BEFORE} WHERE total_cents > 500",
        "There are 3 orders in your answer; version 0 has 4.",
    ),
    (
        "before_the_change",
        f"SELECT * FROM {BEFORE} UNION ALL SELECT * FROM scratch.orders",
        "There are 8 orders in your answer; version 0 has 4.",
    ),
    (
        "before_the_change",
        f"SELECT order_id, customer, total_cents - 1 AS total_cents FROM {BEFORE}",
        "Order 4 costs 889 cents in your answer; version 0 says something else.",
    ),
    (
        "who_spent_most",
        f"{SPENT} scratch.orders GROUP BY ALL ORDER BY 2",
        "Ben with 480 cents comes before Cleo with 990: sort by spent_cents, largest first.",
    ),
    (
        "who_spent_most",
        f"{SPENT} scratch.orders GROUP BY ALL ORDER BY 1",
        "Ben with 480 cents comes before Cleo with 990: sort by spent_cents, largest first.",
    ),
    (
        "who_spent_most",
        "SELECT customer, count(*) AS spent_cents FROM scratch.orders GROUP BY ALL ORDER BY 2 DESC",
        "Ada spent 3449 cents; your answer says 2. Add up total_cents of the table as it is now.",
    ),
    (
        "who_spent_most",
        f"{SPENT} {BEFORE} GROUP BY ALL",
        "Cleo spent 990 cents; your answer says 890. Add up total_cents of the table as it is now.",
    ),
    (
        "who_spent_most",
        "SELECT customer, total_cents AS spent_cents FROM scratch.orders ORDER BY 2 DESC",
        "Ada is in 2 rows; group the orders by customer.",
    ),
    (
        "who_spent_most",
        f"{SPENT} scratch.orders WHERE total_cents > 500 GROUP BY ALL ORDER BY 2 DESC",
        "Ben has ordered and is not in your answer.",
    ),
    (
        "who_spent_most",
        f"{SPENT} scratch.orders GROUP BY ROLLUP (customer) ORDER BY 2 DESC",
        "A row is for the customer NULL, who has not ordered.",
    ),
    (
        "who_spent_most",
        "SELECT customer, sum(total_cents) AS spent FROM scratch.orders GROUP BY ALL ORDER BY 2 DESC",
        "The column spent_cents is missing; yours are customer, spent.",
    ),
]

WRONG = [
    (
        "before_the_change",
        890,
        "The check cannot use this answer (AttributeError: 'int' object has no "
        "attribute 'collect'). It expects a DataFrame, such as spark.read.table(...) "
        "returns.",
    )
]
MADE = [(name, partial(frame, query), told) for name, query, told in QUERIES]

MADE_RIGHT = [
    (name, partial(frame, query))
    for name, query in (
        ("before_the_change", f"SELECT * FROM {BEFORE} ORDER BY order_id DESC"),
        (
            "before_the_change",
            f"SELECT bigint(total_cents) AS total_cents, * EXCEPT (total_cents) FROM {BEFORE}",
        ),
        (
            "who_spent_most",
            "SELECT sum(total_cents) AS spent_cents, customer FROM scratch.orders "
            "GROUP BY customer ORDER BY 1 DESC",
        ),
        (
            "who_spent_most",
            "SELECT customer, sum(CAST(total_cents AS DECIMAL(9))) AS spent_cents FROM scratch.orders "
            "GROUP BY customer ORDER BY spent_cents DESC",
        ),
    )
]
