"""What checks need of Spark: an exercise about a frame, small frames, and a table for a moment.

A small frame is a table of cases in the text of a check: moments and days stand there as text.
"""

import uuid
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any, ClassVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from medallion.lesson.exercise import Exercise, Verdict, other_kind, same
from medallion.paths import scratch
from medallion.spark import catalog, databricks

# Kinds of columns, beside the names of SQL's types: what a check says when it wants several types or any.
WHOLE, NUMBER, ANY = "a whole number", "a number", ""
_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_OF_TEXT = {"timestamp": datetime.fromisoformat, "date": date.fromisoformat}
# In a row of what is expected, in the place of values: this key should not come out.
LEFT_OUT = object()


@dataclass(frozen=True)
class Case:
    """A case of a `FrameExercise`: the arguments, the rows that should come out, and what it is about.

    `given` is None where the answer is the frame itself. A row holds a value for each of the exercise's
    `kinds`, and last why it is so. A key that should not come out has `LEFT_OUT` in the place of its values.
    """

    given: tuple[Any, ...] | None
    rows: Sequence[tuple[Any, ...]]
    about: str = ""


class FrameExercise(Exercise):
    """An exercise whose answer is a function that returns a DataFrame: the first row amiss is told.

    `kinds` names the columns in the order of a case's rows, first the `keys`. Its values are types of SQL, or
    `WHOLE`, `NUMBER`, `ANY`. Other columns may be there too, unless `only` is true.

    The words of a chapter are templates. `what` names a row, by its columns. The others may use `{what}`,
    `{about}` of the case, `{why}` of the row, `{ours[name]}` and `{mine[name]}` (what a column is in the row
    expected, and in the row found); `{column}`, `{expected}` and `{found}` of the first value that differs;
    `{times}`, `{rows}` and `{each}` of one that came out several times. `disorder` is set where the order
    matters; there `{mine[name]}` is the row that comes too early, before `{ours[name]}`.
    """

    keys: ClassVar[tuple[str, ...]]
    kinds: ClassVar[Mapping[str, str]]
    only: ClassVar[bool] = False
    praise: ClassVar[str]

    what: ClassVar[str]
    lost: ClassVar[str] = (
        "{what} went in and did not come out. Its {column} should be {expected}, because {why}."
    )
    doubled: ClassVar[str] = (
        "{what} went in once and came out {times}. Its {column} should be {expected}, because {why}."
    )
    other: ClassVar[str] = "{what} has {column} {found}; it should be {expected}, because {why}."
    left_out: ClassVar[str] = "You return {what}, and {why}."
    strange: ClassVar[str] = "You return {what}, and that did not go in."
    disorder: ClassVar[str] = ""
    moment: ClassVar[str] = "{:%Y-%m-%d %H:%M}"

    @abstractmethod
    def cases(self) -> Iterable[Case]:
        """Return the cases."""

    def check(self, answer: Any) -> Verdict:
        for case in self.cases():
            if wrong := self.wrong_in(self.answered(answer, case), case):
                return self.wrong(wrong)
        return self.right(self.praise)

    def answered(self, answer: Any, case: Case) -> Any:
        """Return the frame that an answer gives for a case."""
        if case.given is not None:
            return answer(*case.given)
        if not isinstance(answer, DataFrame):
            raise TypeError(f"{type(answer).__name__} is no DataFrame")
        return answer

    def wrong_in(self, frame: Any, case: Case) -> str | None:
        """Return the first thing that is wrong with the frame for a case, or None."""
        if wrong := misshapen(frame, self.kinds, only=self.only):
            return wrong
        return self.wrong_among([tuple(row) for row in frame.select(*self.kinds).collect()], case)

    def wrong_among(self, found: Sequence[tuple[Any, ...]], case: Case) -> str | None:
        """Return the first thing that is wrong with the rows of a frame, or None."""
        rows: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for row in found:
            rows.setdefault(row[: len(self.keys)], []).append(row)
        came = list(rows)
        asked = [(_of_text(row, self.kinds.values()), why) for *row, why in case.rows]
        for row, why in asked:
            if wrong := self.wrong_row(case, row, rows.pop(row[: len(self.keys)], []), why):
                return wrong
        if rows:
            mine = min(rows.values(), key=str)[0]
            return self.told(self.strange, case, mine, mine)
        places = {row[: len(self.keys)]: place for place, (row, _) in enumerate(asked)}
        for early, late in pairwise(came if self.disorder else []):
            if places[early] > places[late]:
                return self.told(self.disorder, case, asked[places[late]][0], asked[places[early]][0])
        return None

    def wrong_row(
        self, case: Case, row: tuple[Any, ...], found: list[tuple[Any, ...]], why: str
    ) -> str | None:
        """Return what is wrong with the rows found in the place of one that is expected, or None."""
        if row[-1] is LEFT_OUT:
            return self.told(self.left_out, case, found[0], found[0], why=why) if found else None
        if not found:
            return self.told(self.lost, case, row, row, why=why)
        if len(found) > 1:
            place = self._first_value()
            each = sorted((one[place] for one in found), key=lambda value: (value is None, value))
            return self.told(
                self.doubled,
                case,
                row,
                found[0],
                why=why,
                times=f"{len(found)} times",
                rows=f"{len(found)} rows",
                each=listed(self.shown([*self.kinds][place], one) for one in each),
            )
        for column, value, right in zip(self.kinds, found[0], row, strict=True):
            if not same(value, right):
                return self.told(self.other, case, row, found[0], why=why, column=column)
        return None

    def told(
        self, sentence: str, case: Case, ours: tuple[Any, ...], mine: tuple[Any, ...], **words: str
    ) -> str:
        """Return a sentence on a row expected and a row found; `words` are others that it may use."""
        column = words.setdefault("column", [*self.kinds][self._first_value()])
        texts = {
            name: {key: self.shown(key, value) for key, value in zip(self.kinds, row, strict=True)}
            for name, row in (("ours", ours), ("mine", mine))
        }
        return sentence.format(
            what=self.named(texts["ours"], case),
            about=case.about,
            expected=texts["ours"][column],
            found=texts["mine"][column],
            **texts,
            **words,
        )

    def _first_value(self) -> int:
        """Return the place of the first column that is no key; the last key where there are keys only."""
        return min(len(self.keys), len(self.kinds) - 1)

    def named(self, row: Mapping[str, str], case: Case) -> str:
        """Return what a row is called, of what its columns show."""
        return self.what.format(**row, about=case.about)

    def shown(self, column: str, value: Any) -> str:
        """Return a value of a column as a sentence shows it."""
        return self.moment.format(value) if isinstance(value, datetime) else shown(value)


def misshapen(answer: Any, kinds: Mapping[str, str], *, only: bool = False) -> str | None:
    """Return what is wrong with the kind, the columns or the types of an answer, or None."""
    if not isinstance(answer, DataFrame):
        if hasattr(answer, "iloc"):  # else the message would say that a DataFrame should be a DataFrame
            return "Your function returned a DataFrame of pandas. Return Spark's, without toPandas()."
        return other_kind(answer, "a DataFrame")
    for column in kinds:
        if column not in answer.columns:
            return f"The column {column} is missing; yours are {', '.join(answer.columns)}."
        if answer.columns.count(column) > 1:
            return f"Your rows have the column {column} more than once. Keep one of them."
    types = dict(answer.dtypes)
    for column, kind in kinds.items():
        found = types[column]
        whole = found in _INTEGERS
        number = whole or found in ("float", "double") or found.startswith("decimal")
        if not {WHOLE: whole, NUMBER: number, ANY: True}.get(kind, found == kind.lower().replace(" ", "")):
            return f"The column {column} is of the type {found.upper()}; it should be {kind}."
    if only and (more := [column for column in answer.columns if column not in kinds]):
        return f"Your rows have a column {more[0]} more; return {', '.join(kinds)}."
    return None


def shown(value: Any) -> str:
    """Return a value as SQL shows it."""
    return "NULL" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def listed(values: Iterable[Any]) -> str:
    """Return values in words: "82, 84 and 83"."""
    *most, last = map(shown, values)
    return f"{', '.join(most)} and {last}" if most else last


def _of_text(row: Iterable[Any], kinds: Iterable[str]) -> tuple[Any, ...]:
    """Return a row with the moments and days that its kinds ask for in the place of their texts."""
    return tuple(
        _OF_TEXT[kind.lower()](value) if isinstance(value, str) and kind.lower() in _OF_TEXT else value
        for value, kind in zip(row, chain(kinds, repeat("")), strict=False)
    )


def session() -> SparkSession:
    """Return the session of the notebook."""
    return SparkSession.active()


@contextmanager
def set_to(values: Mapping[str, str]) -> Iterator[None]:
    """Give settings of the notebook's session other values in the block, and put back the old ones after it.

    `unset` alone would leave Spark's default, also where `medallion.start` had set another value.
    """
    conf = session().conf
    before = {name: conf.get(name, None) for name in values}
    for name, value in values.items():
        conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                conf.unset(name)
            else:
                conf.set(name, old)


@contextmanager
def other_session() -> Iterator[SparkSession]:
    """Yield a new session as a stream hands one over: without the views of the notebook's.

    In PySpark 4.2 `createDataFrame` makes its session the active one, in a check as in an answer. After the
    block the notebook's is active again.
    """
    ours = session()
    other = ours.newSession()
    other.catalog.setCurrentCatalog(ours.catalog.currentCatalog())
    try:
        yield other
    finally:
        ours.createDataFrame([], "nothing INT")


def arrow_of(table: str) -> Any:
    """Return the rows of a small table of the schema scratch, as an Arrow table.

    On a laptop Spark does not read it: it takes a second for the few rows of a table that has just changed.
    """
    if databricks.chosen():
        return session().table(table).toArrow()
    from deltalake import DeltaTable

    return DeltaTable(str(scratch() / table.removeprefix("scratch."))).to_pyarrow_table()


def version_of(table: str) -> int:
    """Return the version of a table of the schema scratch; Spark is not asked, as in `arrow_of`."""
    if databricks.chosen():
        return int(session().sql(f"DESCRIBE HISTORY {table} LIMIT 1").select("version").collect()[0][0])
    from deltalake import DeltaTable

    return DeltaTable(str(scratch() / table.removeprefix("scratch."))).version()


def frame_of(rows: Iterable[Sequence[Any]], schema: str) -> DataFrame:
    """Return a frame of some rows in memory, with a schema in DDL.

    Moments and days may be text. What a row holds beyond the columns is left away: it is for the check alone.
    """
    types = StructType.fromDDL(schema)
    assert isinstance(types, StructType)  # as for every schema that names its columns
    kinds = [field.dataType.simpleString() for field in types]
    return session().createDataFrame([_of_text(row[: len(kinds)], kinds) for row in rows], types)


@contextmanager
def scratch_table(schema: str, rows: Sequence[tuple[Any, ...]] = (), **constraints: str) -> Iterator[str]:
    """Make a scratch table with a schema in DDL for the length of the block, and yield its name.

    `constraints` are conditions in SQL, by their names, that each row of the table has to meet.
    """
    name = f"scratch.check_{uuid.uuid4().hex[:8]}"
    if databricks.chosen():
        session().createDataFrame(rows, schema).write.saveAsTable(name)
        for constraint, condition in constraints.items():
            session().sql(f"ALTER TABLE {name} ADD CONSTRAINT {constraint} CHECK ({condition})")
    else:
        folder = scratch() / name.removeprefix("scratch.")
        _write(folder, schema, rows, constraints)
        catalog.adopt(session(), name, folder)
    try:
        yield name
    finally:
        session().sql(f"DROP TABLE IF EXISTS {name}")


def _write(
    folder: Path, schema: str, rows: Sequence[tuple[Any, ...]], constraints: Mapping[str, str]
) -> None:
    """Make a Delta table of some rows in a folder without Spark, which takes several jobs for it."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake
    from pyspark.sql.pandas.types import to_arrow_schema

    types = StructType.fromDDL(schema)
    assert isinstance(types, StructType)  # as for every schema that names its columns
    kinds = to_arrow_schema(types, timezone="UTC")
    held = [dict(zip(kinds.names, row, strict=True)) for row in rows]
    write_deltalake(str(folder), pa.Table.from_pylist(held, schema=kinds))
    if constraints:
        DeltaTable(str(folder)).alter.add_constraint(dict(constraints))
