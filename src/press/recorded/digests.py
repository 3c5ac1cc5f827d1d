"""What a table holds, in a few letters: equal for equal rows, whatever wrote them and wherever.

Rows count as a multiset, columns by their names. The order of rows, the files that they lie in, the order of
columns, the versions of the log, the time zone and the machine play no part. Floating-point numbers count
with nine digits, which leaves the last few to the order in which a sum was taken; -0.0 is 0, one NaN is any.
NULL, an empty text and an empty list are three things. An INT and a BIGINT of the same value are one: types
are the business of `schemas`.

No session is needed: deltalake reads, and DuckDB writes each row as a text, hashes it, and adds up.
"""

import hashlib
import json

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from medallion.errors import MedallionError
from medallion.lakehouse import tables

# What SQL writes the same on every machine
_PLAIN = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_decimal, pa.types.is_date)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_LIST = (pa.types.is_list, pa.types.is_large_list)


def of(table: str) -> str:
    """Return the digest of a Delta table of the lakehouse ("bronze.orders"), 32 hexadecimal digits.

    Raises MedallionError when there is no such table, when it cannot be read, and for a type of column that
    this does not know.
    """
    if not tables.exists(table) or tables.is_view(table):
        raise MedallionError(f"{table} is not there as a table. Run the chapter that makes it.")
    try:
        return digest(DeltaTable(str(tables.folder(table))).to_pyarrow_dataset())
    except (DeltaError, OSError, duckdb.Error) as error:
        said = str(error).splitlines()[0]
        raise MedallionError(f"{table} cannot be read ({said}). Run the chapter that makes it.") from error
    except MedallionError as error:
        raise MedallionError(f"{table}: {error}") from error


def digest(rows: "pa.dataset.Dataset | pa.Table") -> str:
    """Return the digest of `rows`. Raises MedallionError for a type of column that this does not know."""
    names = sorted(rows.schema.names)
    texts = [_text(_quoted(name), rows.schema.field(name).type) for name in names]
    query = f"""
        SELECT count(*), sum(md5_number_lower(text)), sum(md5_number_upper(text))
        FROM (SELECT concat_ws(',', {", ".join(texts) or "''"}) AS text FROM rows)
    """
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.execute(query).fetchall()
    return hashlib.sha256(json.dumps([names, *found]).encode()).hexdigest()[:32]


def _text(value: str, kind: pa.DataType, depth: int = 0) -> str:
    """Return the SQL expression that writes a value of an Arrow type as a text without a second reading."""
    if any(fits(kind) for fits in _PLAIN):
        text = f"CAST({value} AS VARCHAR)"
    elif any(fits(kind) for fits in _TEXT):
        text = f"concat(length({value}), ':', {value})"  # so that no text looks like the end of one
    elif any(fits(kind) for fits in _BINARY):
        text = f"hex({value})"
    elif pa.types.is_floating(kind):
        text = _float(f"CAST({value} AS DOUBLE)")
    elif pa.types.is_timestamp(kind):
        text = f"CAST(epoch_us({value}) AS VARCHAR)"  # a number, which knows no time zone
    elif any(fits(kind) for fits in _LIST):
        text = _listed(value, _text(f"e{depth}", kind.value_type, depth + 1), depth)
    elif pa.types.is_map(kind):
        key = _part(f"e{depth}", "key", kind.key_type, depth + 1)
        held = _part(f"e{depth}", "value", kind.item_type, depth + 1)
        text = _listed(f"map_entries({value})", f"concat({key}, '=', {held})", depth, sort=True)
    elif pa.types.is_struct(kind):
        fields = sorted((kind.field(place) for place in range(kind.num_fields)), key=lambda one: one.name)
        parts = (_literal(f"{one.name}=") + ", " + _part(value, one.name, one.type, depth) for one in fields)
        text = f"concat('{{', {', '.join(parts)}, '}}')"
    else:
        raise MedallionError(f"no digest is known for the type {kind}. Teach it to press.recorded.digests.")
    return f"CASE WHEN {value} IS NULL THEN 'null' ELSE {text} END"


def _float(value: str) -> str:
    return f"CASE WHEN isnan({value}) THEN 'nan' WHEN {value} = 0 THEN '0' ELSE printf('%.8e', {value}) END"


def _listed(values: str, text: str, depth: int, sort: bool = False) -> str:
    texts = f"list_transform({values}, lambda e{depth}: {text})"
    return f"concat('[', array_to_string({f'list_sort({texts})' if sort else texts}, ','), ']')"


def _part(struct: str, name: str, kind: pa.DataType, depth: int) -> str:
    return _text(f"struct_extract({struct}, {_literal(name)})", kind, depth)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
