"""What the checks of chapter 12 say of wrong answers, and other right ones."""

WRONG = []
RIGHT = []

# PART A

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

# 12.1

Rules = dict[str, str]


def _unmet(rules: Rules) -> Any:
    names = [F.when(F.expr(rule), None).otherwise(name) for name, rule in rules.items()]
    return F.array_compact(F.array(*names).cast("ARRAY<STRING>")).alias("_reasons")


def _number(sent: list[str], order: Any = "_source_file") -> Any:
    return F.row_number().over(Window.partitionBy(*sent).orderBy(order))


def _sided(
    rows: DataFrame, sent: list[str], reasons: Any, again: Any, side: Callable[[], Any] | None = None
) -> DataFrame:
    judged = rows.select("*", reasons, again.alias("_again"))
    first = F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside").otherwise("kept")
    return judged.select(*sent, "_source_file", "_reasons", (side() if side else first).alias("_side"))


def negates_by_hand(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    names = [F.when(F.expr(f"NOT ({rule})"), F.lit(name)) for name, rule in rules.items()]
    reasons = F.array_compact(F.array(*names).cast("ARRAY<STRING>")).alias("_reasons")
    return _sided(rows, sent, reasons, _number(sent))


def asks_for_columns(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    columns = [name for name in rows.columns if name != "_source_file"]
    return _sided(rows, sent, _unmet(rules), _number(columns))


def by_brackets(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number(sent, rows["_source_file"]))


def drops_at_the_end(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    judged = rows.select("*", _unmet(rules), _number(sent).alias("_again"))
    side = F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside").otherwise("kept")
    return judged.withColumn("_side", side).drop("_again")


def by_the_id(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number(["payment_id"]))


def rules_first(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    def side() -> Any:
        return F.when(F.size("_reasons") > 0, "aside").when(F.col("_again") > 1, "repeat").otherwise("kept")

    return _sided(rows, sent, _unmet(rules), _number(sent), side)


def without_otherwise(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    def side() -> Any:
        return F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside")

    return _sided(rows, sent, _unmet(rules), _number(sent), side)


def first_reason_only(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, F.slice(_unmet(rules), 1, 1).alias("_reasons"), _number(sent))


def by_rank(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    again = F.rank().over(Window.partitionBy(*sent).orderBy("_source_file"))
    return _sided(rows, sent, _unmet(rules), again)


def newest_stays(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number(sent, F.desc("_source_file")))


def leaves_repeats_out(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number(sent)).where("_side <> 'repeat'")


def keeps_its_helper(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    judged = rows.select("*", _unmet(rules), _number(sent).alias("_again"))
    side = F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside").otherwise("kept")
    return judged.withColumn("_side", side)


def repairs_too(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    found = _sided(rows, sent, _unmet(rules), _number(sent))
    euro = F.coalesce("currency", F.lit("EUR")).alias("currency")
    return found.select(
        *[euro if name == "currency" else name for name in sent], "_source_file", "_reasons", "_side"
    )


def untyped_array(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    text = F.concat_ws(",", _unmet(rules)).alias("_reasons")
    judged = rows.select("*", text, _number(sent).alias("_again"))
    side = F.when(F.col("_again") > 1, "repeat").when(F.col("_reasons") != "", "aside").otherwise("kept")
    return judged.select(*sent, "_source_file", "_reasons", side.alias("_side"))


def with_columns(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    told = F.filter(
        F.array(
            *[
                F.struct(F.lit(n).alias("n"), F.expr(f"coalesce({r}, false)").alias("ok"))
                for n, r in rules.items()
            ]
        ),
        lambda one: ~one["ok"],
    )["n"]
    reasons = told if rules else F.expr("CAST(array() AS ARRAY<STRING>)")
    judged = rows.withColumns({"_reasons": reasons, "_n": _number(sent)})
    case = "CASE WHEN _n > 1 THEN 'repeat' WHEN cardinality(_reasons) > 0 THEN 'aside' ELSE 'kept' END"
    return judged.selectExpr(f"{case} AS _side", "_reasons", "_source_file", *sent)


def by_lag(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    before = F.count(F.lit(1)).over(
        Window.partitionBy(*[F.col(name) for name in sent])
        .orderBy("_source_file")
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    return _sided(rows, sent, _unmet(rules), before + 1)


NOT_IN_A_PIPELINE = (
    "Your function uses {} of a DataFrame (rows.name counts as .columns). A query function of a pipeline "
    "cannot: use select, and a column by its name, as in F.col('_source_file')."
)
WRONG += [
    ("sides", negates_by_hand, "P2 of w1 has _reasons []; it should be ['positive']."),
    ("sides", asks_for_columns, NOT_IN_A_PIPELINE.format(".columns")),
    ("sides", by_brackets, NOT_IN_A_PIPELINE.format("[…]")),
    ("sides", drops_at_the_end, NOT_IN_A_PIPELINE.format(".drop")),
    (
        "sides",
        by_the_id,
        "P7 of w2 has _side repeat; it should be kept, because its amount is another than in w1, so the rows "
        "are not equal.",
    ),
    (
        "sides",
        rules_first,
        "P6 of w2 has _side aside; it should be repeat, because an equal row is in w1, and that comes before "
        "the rules.",
    ),
    ("sides", without_otherwise, "P1 of w1 has _side NULL; it should be kept, because it breaks no rule."),
    ("sides", first_reason_only, "P3 of w1 has _reasons ['positive']; it should be ['positive', 'euro']."),
    (
        "sides",
        by_rank,
        "P5 of w1 has _side kept and kept; it should be repeat, because of two equal rows in one file one is "
        "the first.",
    ),
    ("sides", newest_stays, "P4 of w2 has _side kept; it should be repeat, because an equal row is in w1."),
    (
        "sides",
        leaves_repeats_out,
        "P4 of w2 came 1 time, and you return it 0 times. All rows come out, once.",
    ),
    (
        "sides",
        keeps_its_helper,
        "Your rows have a column _again more; return payment_id, amount_cents, currency, _source_file, "
        "_reasons, _side.",
    ),
    ("sides", repairs_too, "P8 of w1 came 1 time, and you return it 0 times. All rows come out, once."),
    ("sides", untyped_array, "The column _reasons is of the type STRING; it should be ARRAY<STRING>."),
]
RIGHT += [("sides", with_columns), ("sides", by_lag)]

# PART A ends

# PART B

WRONG += []
RIGHT += []

# PART B ends

# PART C

WRONG += []
RIGHT += []

# PART C ends
