"""Every table of ../shared/tables, as far as reading goes. The folder is no part of the repository."""

from typing import Any

import pyarrow.parquet as pq
import pytest

from service.datasets.reading import ReadOptions, TableLimits
from service.datasets.reading.read import read_table
from service.http.errors import TableError
from tests.shared_tables import shared_cases

STEADY = ("name", "type", "nulls", "use", "n_categories")


def cases() -> list[Any]:
    found = []
    for folder, case in shared_cases():
        upload = case["upload"]
        whole = {"name": None, "upload_options": upload.get("options", {}), "expect": case["expect"]}
        for variant in (whole, *case.get("variants", ())):
            marks = f"{case['id']} {variant['name'] or ''}".strip()
            found.append(pytest.param(folder, case, variant["upload_options"], variant["expect"], id=marks))
    return found


def options_of(query: dict[str, Any]) -> ReadOptions:
    as_sent = {"header": {True: "present", False: "absent"}}
    return ReadOptions.parse({name: as_sent.get(name, {}).get(value, value) for name, value in query.items()})


@pytest.mark.parametrize(("folder", "case", "query", "expect"), cases())
def test_a_shared_table_is_read_as_its_case_says(folder, case, query, expect, tmp_path):
    upload = case["upload"]
    limit = upload.get("needs_setting", {}).get("expanded size limit")
    limits = TableLimits(max_dataset_bytes=limit) if limit else TableLimits()

    def read():
        return read_table(
            folder / upload["file"],
            media_type=upload["content_type"],
            content_encoding=upload.get("content_encoding", ""),
            options=options_of(query),
            limits=limits,
            destination=tmp_path / "table.parquet",
        )

    if expect["status"] != 201:
        with pytest.raises(TableError) as caught:
            read()
        answer = {"code": caught.value.code, **caught.value.members}
        wanted = dict(expect["error"])
        assert all(word in str(caught.value) for word in wanted.pop("mentions", ()))
        assert {name: answer.get(name) for name in wanted} == wanted
        assert caught.value.status == expect["status"]
        return
    schema = read()
    assert schema.rows == expect["rows"]
    assert [warning.code for warning in schema.warnings] == expect.get("warnings", [])
    assert schema.delimiter == expect.get("delimiter", schema.delimiter)
    if isinstance(expect["columns"], dict):
        assert len(schema.columns) == expect["columns"]["count"]
        assert {column.type for column in schema.columns} == {"numeric"}
        return
    assert [column.name for column in schema.columns] == [wanted["name"] for wanted in expect["columns"]]
    for column, wanted in zip(schema.columns, expect["columns"], strict=True):
        assert [warning.code for warning in column.warnings] == wanted["warnings"], column.name
        steady = [name for name in STEADY if name in wanted]
        if wanted["use"] and "constant" in wanted["warnings"]:
            steady.remove("use")  # the case says what a job does with its target
        assert {name: getattr(column, name) for name in steady} == {name: wanted[name] for name in steady}
        for name in ("mean", "min", "max"):
            if name in wanted:
                assert getattr(column, name) == pytest.approx(wanted[name], rel=1e-12, abs=1e-12)
        if "null_spellings" in wanted:
            assert list(column.null_spellings) == wanted["null_spellings"]
        if (categories := wanted.get("categories")) and categories[-1] != "...":
            assert list(column.categories or ()) == categories
    table = pq.read_table(tmp_path / "table.parquet")
    assert table.column_names == [column.name for column in schema.columns]
    assert len(table) == schema.rows
    assert [values.null_count for values in table.columns] == [column.nulls for column in schema.columns]
    first_row = expect.get("first_row", {})
    assert {name: table[name][0].as_py() for name in first_row} == first_row
