"""What the checks of chapter 10 say of wrong answers, and other right ones."""

from pyspark.sql import DataFrame


def added(orders: DataFrame, rule: str = "total_cents > 0", total: str = "coalesce(sum(total_cents), 0)"):
    """Return an answer that keeps the rows for which a rule is true, and what their total is."""
    return orders.where(rule).selectExpr(f"{total} AS cents").first().cents


def everything(orders: DataFrame) -> int:
    return added(orders, rule="true")


def none_for_none(orders: DataFrame) -> int:
    return added(orders, total="sum(total_cents)")


def counted(orders: DataFrame) -> int:
    return added(orders, total="count(*)")


def without_sign(orders: DataFrame) -> int:
    return added(orders, rule="true", total="coalesce(sum(abs(total_cents)), 0)")


def in_euros(orders: DataFrame) -> float:
    return added(orders) / 100


def row_by_row(orders: DataFrame) -> int:
    return sum(max(row.total_cents or 0, 0) for row in orders.collect())


def in_pandas(orders: DataFrame) -> int:
    return orders.toPandas()["total_cents"].clip(lower=0).fillna(0).astype(int).sum()


WRONG = [
    ("paid", everything, "For one total below zero, [500, -20, 80], it is 580 cents; yours is 560."),
    (
        "paid",
        none_for_none,
        "Your function returned nothing. Does it end with return? It should return a whole number.",
    ),
    ("paid", counted, "For one total below zero, [500, -20, 80], it is 580 cents; yours is 2."),
    ("paid", without_sign, "For one total below zero, [500, -20, 80], it is 580 cents; yours is 600."),
    ("paid", in_euros, "Your function returned 5.8. It should return a whole number."),
]

RIGHT = [("paid", row_by_row), ("paid", in_pandas)]
