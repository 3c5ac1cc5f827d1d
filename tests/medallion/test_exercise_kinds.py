"""The two kinds of exercises: of a function, with its cases, and of a frame, with its rows."""

from datetime import date, datetime
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from medallion.lesson.exercise import FunctionExercise, as_kind, same
from medallion.lesson.frames import LEFT_OUT, Case, FrameExercise, arrow_of, scratch_table, set_to
from medallion.paths import scratch
from medallion.spark import tracebacks

pytestmark = pytest.mark.usefixtures("no_progress")


class Halves(FunctionExercise):
    number, title, hints = "98.1", "the halves", ("a", "b", "c")
    cases = (("two numbers", [4, 5], [2.0, 2.5]), ("no numbers", [], []))
    returns = "a list"
    kind = list
    other = "For {about}, {given[0]}, the halves are {expected}; yours are {found}."
    praise = "All halves."


@pytest.mark.parametrize(
    "halves",
    [
        lambda numbers: [number / 2 for number in numbers],
        lambda numbers: tuple(np.float32(number) / 2 for number in numbers),
        lambda numbers: np.array(numbers) / 2,
        lambda numbers: [numbers.pop(0) / 2 for _ in range(len(numbers))],  # the cases stay as they are
    ],
)
def test_numbers_and_lists_of_any_make_are_equal(halves):
    assert [Halves()(halves).message for _ in range(2)] == ["All halves."] * 2


DIFFER = "For two numbers, [4, 5], the halves are [2.0, 2.5]; yours are"
RETURNED, SHOULD = "Your function returned", "It should return a list."


@pytest.mark.parametrize(
    ("halves", "told"),
    [
        (np.array, f"{DIFFER} [4, 5]."),
        (lambda numbers: [2.0], f"{DIFFER} [2.0]."),
        (lambda numbers: [2.0, None], f"{DIFFER} [2.0, None]."),
        (len, f"{RETURNED} 2. {SHOULD}"),
        (list.sort, f"{RETURNED} nothing. Does it end with return? {SHOULD}"),
        (lambda numbers: pd.DataFrame(), f"{RETURNED} a DataFrame. {SHOULD}"),
    ],
)
def test_the_first_case_that_differs_is_told_in_its_words(halves, told):
    verdict = Halves()(halves)
    assert (verdict.state, verdict.message) == ("wrong", told)


def test_a_truth_value_is_no_number_and_the_other_way_round():
    assert (as_kind(np.int64(3), int), as_kind(np.True_, bool)) == (3, True)
    for value, kind in ((True, int), (1, bool), (3.0, int), (None, float), ("x", float), ({1}, list)):
        with pytest.raises((TypeError, ValueError)):
            as_kind(value, kind)


def test_numbers_are_nearly_equal_and_nan_and_none_are_no_number():
    assert same(0.1 + 0.2, 0.3)
    assert not any(same(*pair) for pair in ((float("nan"), 0.0), (None, 0.0), (0.0, None)))


class Days(FrameExercise):
    number, title, hints = "98.2", "the days", ("a", "b", "c")
    keys = ("who",)
    kinds = MappingProxyType({"who": "STRING", "at": "TIMESTAMP", "n": "INT"})
    what = "{who}"
    disorder = "{mine[who]} comes before {ours[who]}."
    praise = "All days."

    def cases(self):
        first, then = ("A", "2025-01-01", 1, "it is first"), ("B", "2025-01-02", 2, "it is next")
        yield Case((), [first, then, ("C", LEFT_OUT, "C is not asked for")])

    def wrong_in(self, rows, case):  # what is said of a frame itself is in the tables of the chapters
        return self.wrong_among(rows, case)


A, B = ("A", datetime(2025, 1, 1), 1), ("B", datetime(2025, 1, 2), 2)
OUGHT = "Its at should be 2025-01-02 00:00, because it is next."


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([A, B], "All days."),
        ([A], f"B went in and did not come out. {OUGHT}"),
        ([A, B, B], f"B went in once and came out 2 times. {OUGHT}"),
        ([A, (*B[:2], None)], "B has n NULL; it should be 2, because it is next."),
        ([A, B, ("C", None, 0)], "You return C, and C is not asked for."),
        ([A, B, (None, None, 0)], "You return NULL, and that did not go in."),
        ([B, A], "B comes before A."),
    ],
)
def test_the_first_row_amiss_is_told(rows, told):
    assert Days()(lambda: rows).message == told


def test_a_scratch_table_is_one_that_spark_reads_changes_and_removes(spark):
    """Spark did not write it. It has the types of its schema, its rows, and its constraints."""
    schema = "name STRING, n INT, big BIGINT, day DATE, at TIMESTAMP"
    rows = [("a", 1, 2**40, date(2025, 7, 1), datetime(2025, 7, 1, 23, 30)), (None, None, None, None, None)]
    with scratch_table(schema, rows, small="coalesce(n, 0) < 1000") as table, scratch_table(schema) as empty:
        found = spark.table(table)
        assert [f"{column} {kind}".upper() for column, kind in found.dtypes] == schema.upper().split(", ")
        assert sorted(map(tuple, found.collect()), key=str) == sorted(rows, key=str)
        assert spark.table(empty).columns == found.columns
        assert spark.table(empty).count() == 0
        with pytest.raises(Exception) as refused:  # Delta's error has no Python class of its own
            spark.sql(f"INSERT INTO {table} VALUES ('b', 1000, NULL, NULL, NULL)").collect()
        assert tracebacks.reason(refused.value) == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
        spark.sql(f"UPDATE {table} SET n = 2 WHERE name = 'a'").collect()
        assert sorted(arrow_of(table)["n"].to_pylist(), key=str) == [2, None]
    assert not spark.catalog.tableExists(table)
    assert not list(scratch().glob("check_*")), "the files are gone with the table"


def test_settings_are_afterwards_as_they_were_and_not_as_spark_has_them(spark):
    ours, unset = "spark.sql.shuffle.partitions", "spark.sql.adaptive.skewJoin.skewedPartitionFactor"
    before = spark.conf.get(ours)
    assert before != "200"
    with pytest.raises(OSError, match="x"), set_to({ours: "8", unset: "2"}):
        assert (spark.conf.get(ours), spark.conf.get(unset)) == ("8", "2")
        raise OSError("x")
    assert (spark.conf.get(ours), spark.conf.get(unset, None)) == (before, None)
