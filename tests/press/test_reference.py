"""The reference: schemas read from real Delta logs, meanings from the dictionary, pages from the code."""

import re
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest
from deltalake import Field, Schema, write_deltalake
from deltalake.schema import ArrayType, MapType, PrimitiveType, StructType

import medallion_cli
from medallion import contract, paths
from medallion.course import durations
from medallion.errors import MedallionError
from press.lineage.observed import Edge
from press.recorded import digests, lineage, schemas
from press.reference import dictionary, lineage_figure, lineage_page, reference
from press.source.chapter import parse
from press.trial import lakehouse

PARSER = medallion_cli.make_parser()
LINE = StructType([Field("line_no", "integer"), Field("sku", "string")])
ORDER = Schema(
    [
        Field("id", "long", metadata={"comment": "the order's number"}),
        Field("price", PrimitiveType("decimal(9,2)")),
        Field("lines", ArrayType(LINE)),
        Field("tags", ArrayType("string")),
        Field("rest", MapType("string", "string")),
        Field("who", StructType([Field("name", "string")])),
    ]
)
COLUMNS = {
    "id": {"type": "BIGINT", "comment": "the order's number"},
    "price": {"type": "DECIMAL(9,2)"},
    "lines": {"type": "ARRAY<STRUCT>"},
    "lines[].line_no": {"type": "INT"},
    "lines[].sku": {"type": "STRING"},
    "tags": {"type": "ARRAY<STRING>"},
    "rest": {"type": "MAP<STRING, STRING>"},
    "who": {"type": "STRUCT"},
    "who.name": {"type": "STRING"},
}
MADE = [Edge("bronze.orders", "silver.orders", "02", "spark")]
HEADER = """\
# ---
# jupyter:
#   medallion:
#     makes:
{makes}
#     grain:
#       silver.orders: one order
#     minutes: {{read: 5, practise: 10}}
#     objectives: [sort]
#     summary: order
#     outline: Rows in order.
# ---

# %% [markdown]
# # Sorting
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one chapter that makes silver.orders, and a lakehouse that holds the table."""
    (tmp_path / "book" / "chapters" / "02_sorting").mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    makes = "#       silver.orders: [bronze.orders]"
    chapter = tmp_path / "book" / "chapters" / "02_sorting" / "lesson.py"
    chapter.write_text(HEADER.format(makes=makes), encoding="utf-8")
    (tmp_path / "datasets" / "README.md").write_text(
        "# Data\n\n## orders\n\n| field | type | meaning |\n|---|---|---|\n"
        "| lines[], tags[] | array | in **any** order |\n| id | text | another |\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "lakehouse"))
    monkeypatch.setattr(contract, "folder", lambda: tmp_path / "book" / "chapters")
    contract.chapters.cache_clear()
    write(tmp_path, ORDER, {"id": [1, 2]})
    yield tmp_path
    contract.chapters.cache_clear()


def write(repository, schema, rows):
    """Write a Delta table silver.orders with the schema; columns without rows are NULL."""
    arrow = pa.schema(schema)
    count = len(next(iter(rows.values())))
    columns = [pa.array(rows.get(field.name, [None] * count), field.type) for field in arrow]
    folder = repository / "lakehouse" / "silver" / "orders"
    folder.mkdir(parents=True, exist_ok=True)
    write_deltalake(folder, pa.table(columns, schema=arrow), mode="overwrite", schema_mode="overwrite")


def test_a_schema_is_flat_with_the_types_of_sql_and_the_comments_of_the_table(repository):
    held = schemas.of("silver.orders")
    assert held == {"rows": 2, "digest": digests.of("silver.orders"), "columns": COLUMNS}


def test_what_is_stored_is_what_is_read_again(repository):
    reference.record("02", 103, repository)
    assert schemas.load(repository) == {"silver.orders": schemas.of("silver.orders")}
    assert durations.load(repository) == {"02": 105}
    files = [repository / name for name in (schemas.FILE, durations.FILE)]
    before = [file.read_bytes() for file in files]
    reference.record("02", 140, repository)
    reference.record("02", target=repository)
    assert [file.read_bytes() for file in files] == before


def test_a_table_that_is_not_the_recorded_one_is_told(repository, monkeypatch):
    monkeypatch.setattr(lakehouse.paths, "root", lambda: repository)
    assert lakehouse.other_tables("02") == []  # nothing is recorded
    reference.record("02", 100, repository)
    assert lakehouse.other_tables("02") == []
    write(repository, ORDER, {"id": [2, 1]})
    assert lakehouse.other_tables("02") == []

    def told():
        (problem,) = lakehouse.other_tables("02")
        assert (problem.path, problem.line) == ("notebooks/02_sorting.ipynb", 1)
        return problem.text

    fix = "If that is meant, run './medallion build 02'; if each run gives other rows, fix the cell."
    write(repository, ORDER, {"id": [1, 3]})
    assert told() == f"silver.orders has 2 rows, as recorded, but not the same. {fix}"
    write(repository, ORDER, {"id": [1, 2, 2]})
    assert told() == f"silver.orders has 3 rows, recorded are 2. {fix}"
    shutil.rmtree(repository / "lakehouse" / "silver")
    assert told() == "silver.orders is not there as a table. Run the chapter that makes it."
    schema = repository / schemas.FILE
    schema.write_text(re.sub(" *digest: .*\n", "", schema.read_text(encoding="utf-8")), encoding="utf-8")
    assert told() == f"{schemas.FILE} has no digest of silver.orders. Run './medallion build 02'."


def test_a_promised_table_that_is_not_there_is_named(repository, monkeypatch):
    monkeypatch.setenv("MEDALLION_HOME", str(repository / "elsewhere"))
    with pytest.raises(MedallionError) as refused:
        reference.record("02", 100, repository)
    assert str(refused.value) == "silver.orders is not in the lakehouse. Run the chapter that makes it."


def test_the_page_of_the_tables_says_grain_rows_source_and_columns(repository):
    reference.record("02", 100, repository, MADE)
    written = [reference.TABLES, reference.PACKAGE, lineage_page.PAGE, lineage_figure.FILE]
    assert reference.write(PARSER, repository) == written
    page = (repository / reference.TABLES).read_text(encoding="utf-8")
    assert "| [silver.orders](#silverorders) | one order | 2 | 02 |" in page
    assert "One row is one order. 2 rows." in page
    assert "from [bronze.orders](#bronzeorders)." in page
    assert "| `id` | `BIGINT` | the order's number |" in page  # the table's own comment goes first
    assert "| `lines` | `ARRAY<STRUCT>` | in **any** order |" in page
    assert "| `who.name` | `STRING` | |" in page
    assert reference.write(PARSER, repository) == []
    reference.check(PARSER, repository)


def test_a_table_without_sources_is_said_to_come_from_the_lesson():
    page = (paths.root() / reference.TABLES).read_text(encoding="utf-8")
    calendar = page[page.index("## gold.dim_date") :]
    assert "from the code of the lesson alone." in calendar.split("\n- **Read by**")[0]


def test_an_unrecorded_table_a_stray_one_and_an_old_page_are_out_of_date(repository):
    with pytest.raises(MedallionError, match=r"lesson\.py:1: .*schemas\.yml lacks silver\.orders\. Run"):
        reference.check(PARSER, repository)
    with pytest.raises(MedallionError, match=r"lesson\.py:1: .*seconds\.yml lacks chapter 02\. Run"):
        reference.check(PARSER, repository)
    reference.record("02", 100, repository)
    with pytest.raises(MedallionError, match=r"lesson\.py:1: .*lineage\.yml lacks what this chapter"):
        reference.check(PARSER, repository)
    reference.record("02", 100, repository, [Edge("bronze.else", "silver.orders", "02", "spark")])
    with pytest.raises(MedallionError) as refused:
        reference.check(PARSER, repository)
    assert [line.split(":1: ")[1] for line in str(refused.value).splitlines()] == [
        "missing: silver.orders declares bronze.orders, and was not seen to read it. "
        "Fix the header, or run './medallion build 02'.",
        "not declared: silver.orders was made from bronze.else. "
        "Fix the header, or run './medallion build 02'.",
    ]
    reference.record("02", 100, repository, MADE)
    with pytest.raises(MedallionError, match=r"tables\.md:1: this page is out of date"):
        reference.check(PARSER, repository)
    reference.write(PARSER, repository)
    write(repository, Schema([Field("id", "integer")]), {"id": [1, 2, 3]})
    reference.record("02", 100, repository)
    with pytest.raises(MedallionError, match=r"tables\.md:1: this page is out of date"):
        reference.check(PARSER, repository)
    reference.write(PARSER, repository)
    reference.check(PARSER, repository)
    chapter = repository / "book" / "chapters" / "02_sorting" / "lesson.py"
    text = chapter.read_text(encoding="utf-8").replace("silver.orders:", "silver.sorted:")
    chapter.write_text(text, encoding="utf-8")
    with pytest.raises(MedallionError, match=r"no chapter makes silver\.orders"):
        reference.check(PARSER, repository)


def test_the_lineage_has_no_column_that_its_table_lacks(repository):
    """A step that was cached has columns of its own, and OpenLineage tells them as the table's."""
    edge = replace(MADE[0], columns=(("day", ("id",)), ("id", ("id",))))
    reference.record("02", 100, repository, [edge])
    reference.write(PARSER, repository)
    [kept] = lineage.load(repository)["02"]
    assert kept.columns == (("id", ("id",)),)


def test_schemas_that_are_no_yaml_are_told(repository):
    (repository / schemas.FILE).parent.mkdir(parents=True)
    (repository / schemas.FILE).write_text("a: [", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"schemas\.yml cannot be read"):
        schemas.load(repository)


def test_the_dictionary_is_read_by_table_and_column():
    found = dictionary.meanings(paths.root())
    assert found["orders"]["after.lines"].startswith("`line_no`")
    assert found["products"]["price.currency"] == "`EUR`"
    assert found["customers"]["last_name"] == "with accents"
    assert "email" not in found["customers"]  # its meaning is empty
    assert "_source_file" in found[dictionary.ADDED]
    assert "repeat" not in found["orders"]  # a table of planted kinds, not of columns


def test_the_reference_of_this_repository_is_current():
    reference.check(PARSER)


def test_every_bronze_column_that_we_add_has_a_meaning():
    meant = dictionary.meanings(paths.root())[dictionary.ADDED]
    held = schemas.load(paths.root())
    added = {name for schema in held.values() for name in schema["columns"] if name.startswith("_")}
    assert added == set(meant)


def test_every_function_that_a_notebook_takes_from_the_package_is_in_the_reference():
    called = set()
    for path in contract.lessons().values():
        code = "\n".join(cell.source for cell in parse(path).cells if cell.kind == "code")
        called |= {f"medallion.{name}" for name in re.findall(r"\bmedallion\.(\w+)\(", code)}
        for folder, modules in (
            ("lesson", "charts|quiz|graphs"),
            ("servers", "api|dashboard|endpoint|tracking"),
        ):
            found = re.findall(rf"\b((?:{modules})\.\w+)\(", code)
            called |= {f"medallion.{folder}.{name}" for name in found}
    assert called
    assert called <= set(reference.called())


def test_the_page_of_the_package_has_every_command_and_argument():
    page = reference.package_page(PARSER)
    for name, command in reference._commands(PARSER).items():
        assert f"\n### {name}\n" in page
        for action in command._actions:
            if action.dest != "help":
                assert action.help, f"{name} {action.dest} has no help"
    assert "`--from-dir DIR`" in page
    assert 'profile: str | None = None) -> "SparkSession"' in page
    assert "| . |" not in page
