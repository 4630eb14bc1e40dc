"""Tables of text: what a file says, in which order it comes, and how much of it is read at once do not matter."""

import csv
import gzip
import hashlib
import io
import math
import re
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.reading import ReadOptions, TableLimits
from service.datasets.reading.sources import content, delimited
from service.http.errors import InvalidRequestError, TableError, UnsupportedEncodingError, UnsupportedMediaTypeError
from storage.datasets.categories import trim
from storage.datasets.schema import ColumnSchema, TableSchema
from tests.service.datasets.reader import Reader, codes


@pytest.fixture
def read(tmp_path):
    return Reader(tmp_path)


def only(schema: TableSchema) -> ColumnSchema:
    assert len(schema.columns) == 1
    return schema.columns[0]


# Delimiters, records and quotes


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(read, delimiter):
    schema = read(delimiter.join("aby") + "\n" + delimiter.join("123") + "\n")
    assert (schema.delimiter, [column.name for column in schema.columns]) == (delimiter, ["a", "b", "y"])
    assert read.rows() == [[1, 2, 3]]


def test_values_separated_by_tabs_may_hold_commas(read):
    read("a\tb\n1,x\t2\n", "text/tab-separated-values")
    assert read.rows() == [["1,x", 2]]


def test_a_delimiter_that_is_given_is_not_doubted(read):
    read("a b\n1 2\n", delimiter="space")
    assert read.rows() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b\n5" pipe,1\nx"y"z,2\n', [['5" pipe', 1], ['x"y"z', 2]]),
        ('a,b\n"x""y",1\n"",2\n"""",3\n', [['x"y', 1], [None, 2], ['"', 3]]),
        ('a,b\n"x" ,1\n', [["x", 1]]),
        ("a,b\r\nx,1\r\n\r\ny,2", [["x", 1], ["y", 2]]),
        ("a,b\rx,1\ry,2\r", [["x", 1], ["y", 2]]),
        ('\n\na,b\n"1\n\n2",3\n', [["1\n\n2", 3]]),
        ('"a,1","b\n2"\nx,1\n', [["x", 1]]),
    ],
)
def test_quotes_and_ends_of_lines(read, text, rows):
    read(text)
    assert read.rows() == rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,y\n1,2,3\n4,5,6,7\n", {"code": "ragged_row", "row": 1, "line": 3, "expected": 3, "got": 4}),
        ('a,b\n"1\n2",3\n\n4\n', {"code": "ragged_row", "row": 1, "line": 5, "expected": 2, "got": 1}),
        ('a,b\n1,2\n3,"x\n4,5\n', {"code": "unclosed_quote", "line": 3}),
        ('"a,b\n1,2\n', {"code": "unclosed_quote", "line": 1}),
        ('a,b\n1,"x"y\n', {"code": "stray_quote", "line": 2}),
        ("a,b\n1,2,\n3,4,5\n", {"code": "ragged_row", "row": 0, "line": 2, "expected": 2, "got": 3}),
        ("", {"code": "empty_file"}),
        ("\n\r\n", {"code": "empty_file"}),
        ("  \n \n", {"code": "empty_file"}),
        ("a,b\n", {"code": "no_rows"}),
        (b"\xef\xbb\xbf", {"code": "empty_file"}),
        ("a, a\n1,2\n", {"code": "duplicate_names", "names": ["a"]}),
        ("a,\n1,2\n3,\n", {"code": "empty_name", "position": 1}),
        (",y\n5,2\n6,1\n", {"code": "empty_name", "position": 0}),
        (b"a,b\n1,2\n3,caf\xe9\n", {"code": "not_utf8", "line": 3, "offset": 13}),
        (b"a,b\r1,2\r3,caf\xe9\r", {"code": "not_utf8", "line": 3, "offset": 13}),
        ("a,b\n1,2\n".encode("utf-16-le"), {"code": "not_utf8", "line": 1, "offset": 1}),
        ("a,b\n1,2\n3,inf\n4,5\n", {"code": "not_finite", "row": 1, "line": 3, "column": "b", "value": "inf"}),
        ("a,b\n1,2\n3,-1e999\n", {"code": "not_finite", "row": 1, "line": 3, "column": "b"}),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_place(read, text, expected):
    answer = read.error(text)
    assert answer["status"] == 422
    assert {name: answer.get(name) for name in expected} == expected


def test_the_line_of_a_row_after_quoted_line_breaks(read):
    text = "n,c\n" + "".join(f'{i},"a\nb"\n' for i in range(3_000)) + "x,c\n"
    answer = read.error(text)
    assert (answer["code"], answer["row"], answer["line"]) == ("mixed_column", 3_000, 2 + 2 * 3_000)
    assert (answer["column"], answer["value"]) == ("n", "x")


def test_a_delimiter_at_the_end_of_each_line_is_dropped_but_a_value_there_is_not(read):
    schema = read("a,b\n1,2,\n3,4,\n")
    assert codes(schema) == ["trailing_delimiter"]
    assert read.rows() == [[1, 2], [3, 4]]
    late = "a,b\n" + "1,2,\n" * 5_000 + "3,4,5\n"
    assert read.error(late)["row"] == 5_000


@pytest.mark.parametrize(("first", "code"), [(0, "index_column"), (1, "index_column")])
def test_an_index_without_a_name_is_left_out(read, first, code):
    schema = read('"",a\n' + "".join(f"{i},x\n" for i in range(first, first + 5)))
    assert codes(schema) == [code]
    assert [column.name for column in schema.columns] == ["a"]


def test_an_empty_column_without_a_name_is_left_out(read):
    schema = read("a,,b,\n1,,2,\n3,,4,\n")
    assert codes(schema) == ["unnamed_empty_column"] * 2
    assert read.rows() == [[1, 2], [3, 4]]


def test_names_that_differ_in_case_are_two_columns_with_a_warning(read):
    assert codes(read("Age,age\n1,2\n")) == ["names_differ_in_case"]


def test_names_may_have_blanks_and_characters_within(read):
    schema = read(' a b ,"c,d",é.f\n1,2,3\n')
    assert [column.name for column in schema.columns] == ["a b", "c,d", "é.f"]
    assert codes(schema) == ["names_trimmed"]


def test_a_record_or_field_beyond_the_limit_is_refused_whether_quoted_or_not(read):
    limits = TableLimits(max_line_bytes=10_000)
    for field in ("x" * 20_000, '"' + "x\n" * 10_000 + '"'):
        answer = read.error(f"a,b\n1,2\n3,{field}\n4,5\n" * 1 + "6,7\n" * 300_000, limits=limits)
        assert (answer["code"], answer["line"], answer["limit"]) == ("field_too_long", 3, 10_000)


def test_a_quote_that_opens_far_from_the_end_of_a_large_file_is_named(read):
    answer = read.error("a,b\n1,2\n" + '3,"4\n' + "5,6\n" * 600_000)
    assert (answer["code"], answer["line"]) == ("unclosed_quote", 3)


# Character sets and compression


def test_the_same_table_gives_the_same_bytes_in_every_wrapping(read):
    text = "a,c,y\n1,é,2\n2,x,3\n"
    wrapped = [
        (text.encode(), {}),
        (b"\xef\xbb\xbf" + text.encode(), {}),
        (text.encode("utf-16"), {}),
        (b"\xfe\xff" + text.encode("utf-16-be"), {}),
        (text.encode("utf-16-le"), {"charset": "utf-16-le"}),
        (text.encode("latin-1"), {"charset": "latin-1"}),
        (text.replace("\n", "\r\n").encode(), {}),
        (gzip.compress(text.encode()), {}),
        (gzip.compress(text.encode("utf-16")), {"encoding": "gzip"}),
        (gzip.compress(text[:9].encode()) + gzip.compress(text[9:].encode()), {"encoding": "x-gzip"}),
        (b"".join(pa.compress(part.encode(), "zstd", asbytes=True) for part in (text[:5], text[5:])), {}),
        # pzstd begins with a frame that is to be skipped
        (b"\x50\x2a\x4d\x18\x04\0\0\0size" + pa.compress(text.encode(), "zstd", asbytes=True), {"encoding": "zstd"}),
    ]
    digests = set()
    for body, options in wrapped:
        read(body, **options)
        digests.add(hashlib.sha256(read.parquet.read_bytes()).hexdigest())
    assert len(digests) == 1
    read(text.encode("latin-1"), "text/csv; charset=ISO-8859-1")
    assert hashlib.sha256(read.parquet.read_bytes()).hexdigest() in digests


def test_the_media_type_may_say_that_there_is_no_header_and_the_query_wins(read):
    names = [column.name for column in read("1,x\n2,y\n", 'text/csv; header="absent"; charset=utf-8').columns]
    assert (names, read.rows()) == (["c0", "c1"], [[1, "x"], [2, "y"]])
    assert read("a,x\n2,y\n", "text/csv; header=absent", header="present").columns[0].name == "a"
    with pytest.raises(InvalidRequestError, match="header"):
        read("1,x\n", "text/csv; header=maybe")


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_bytes_that_are_cut_or_followed_by_others_are_refused(read, coding):
    whole = pa.compress(b"a,b\n" + b"1,2\n" * 1_000, coding, asbytes=True)
    for body in (whole[:-5], whole[: len(whole) // 2], whole + b"garbage!", b"a,b\n1,2\n"):
        answer = read.error(body, encoding=coding)
        assert (answer["code"], answer["status"]) == ("malformed_encoding", 400)


def test_what_expands_beyond_the_limit_is_refused_while_it_is_read(read):
    body = gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000)
    answer = read.error(body, limits=TableLimits(max_dataset_bytes=1_000_000))
    assert (answer["code"], answer["status"], answer["limit"]) == ("too_large", 413, 1_000_000)


def test_too_many_rows_or_columns_are_refused(read):
    assert read.error("a\n1\n2\n3\n", limits=TableLimits(max_dataset_rows=2))["limit"] == 2
    assert read.error("a,b,c\n1,2,3\n", limits=TableLimits(max_dataset_columns=2))["limit"] == 2


def test_unknown_codings_and_media_types_are_refused(read):
    with pytest.raises(UnsupportedEncodingError, match="gzip or zstd, not br"):
        read("a\n1\n", encoding="br")
    with pytest.raises(UnsupportedMediaTypeError, match="image/png"):
        read("a\n1\n", "image/png")


def test_bytes_that_are_not_in_the_character_set_that_is_given_are_refused(read):
    assert read.error(b"a\n\xff\xff\n", charset="shift_jis")["code"] == "wrong_charset"
    assert read.error("a\n1\n".encode("utf-16") + b"x")["code"] == "wrong_charset"


# Options


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"delimiter": "ab"}, "/delimiter"),
        ({"delimiter": '"'}, "/delimiter"),
        ({"decimal": "x"}, "/decimal"),
        ({"decimal": ",", "delimiter": ","}, "/decimal"),
        ({"header": "maybe"}, "/header"),
        ({"charset": "rot13"}, "/charset"),
        ({"charset": "klingon"}, "/charset"),
        ({"types": "a"}, "/types"),
        ({"types": "[]"}, "/types"),
        ({"types": '{"a": "number"}'}, "/types/a"),
        ({"types": '{"a/b": "number"}'}, "/types/a~1b"),
        ({"types": '{"colour": "date"}'}, "/types/colour"),
        ({"null_values": "[1]x"}, "/null_values"),
    ],
)
def test_an_option_that_is_none_is_refused_with_its_place(read, query, pointer):
    if "null_values" in query:
        assert ReadOptions.parse(query).null_values == ("[1]x",)  # a spelling like others
        return
    with pytest.raises(InvalidRequestError) as caught:
        read("color\n1\n", **query)
    assert caught.value.faults[0].pointer == pointer


def test_a_column_whose_type_is_given_but_is_not_there_names_the_nearest(read):
    with pytest.raises(InvalidRequestError, match="nearest name is 'color'"):
        read("color\n1\n", types='{"colour": "date"}')


def test_null_values_replace_the_usual_spellings(read):
    text = "a,c\n1,NA\n-999,x\n3,-999\n"
    schema = read(text, null_values="-999")
    a, c = schema.columns
    assert (a.nulls, a.mean, a.null_spellings) == (1, 2, ("-999",))
    assert (c.nulls, c.categories, c.null_spellings) == (1, ("NA", "x"), ("-999",))
    assert codes(c) == []
    assert read(text).columns[0].min == -999
    assert ReadOptions.parse({"null_values": '["NA", " n.a., x "]'}).null_values == ("NA", "n.a., x")
    a, c = read("a,c\n1,NA\nNA,x\n", null_values="").columns
    assert (a.type, codes(a)) == ("categorical", ["mixed_numbers_and_text"])


@pytest.mark.parametrize(
    ("values", "decimal"),
    [("5 -999.0 -999 7", "."), ("5 007 -999 -9.99e2", "."), ("5,0 -999,00 -999 7", ",")],
)
def test_a_number_that_is_a_missing_value_is_one_however_it_is_written(read, values, decimal):
    asked = '{"a": "numeric"}'
    column = read(
        "a;y\n" + "".join(f"{x};1\n" for x in values.split()), null_values="-999", decimal=decimal, types=asked
    )
    a = column.columns[0]
    assert (a.type, a.nulls, a.mean, a.null_spellings) == ("numeric", 2, 6, ("-999",))


# Types of columns


@pytest.mark.parametrize(
    ("values", "kind", "warnings"),
    [
        (["1", "2.50", "-3", "+4", "1e3"], "numeric", []),
        (["1.0", "2.0"], "numeric", []),
        (["0.5", "00.25"], "numeric", []),
        (["01", "02"], "categorical", ["leading_zeros"]),
        (["1", "02"], "categorical", ["leading_zeros"]),
        (["9007199254740991", "1"], "numeric", []),
        (["9007199254740992", "1"], "categorical", ["whole_numbers_too_large"]),
        (["1E5", "2E3", "7"], "categorical", ["exponent_codes"]),
        (["1E5", "2e+3"], "numeric", []),
        (["1E5", "0.5"], "numeric", []),
        (["true", "FALSE", "True"], "boolean", []),
        (["true", "NA"], "boolean", []),
        (["true", "1"], "categorical", ["mixed_numbers_and_text"]),
        (["Yes", "no"], "categorical", []),
        (["yes", "Yes"], "categorical", ["categories_differ_in_case"]),
        (["2024-01-31", "2024-02-01"], "date", ["dates_not_used"]),
        (["2024-01-31 10:00", "1/2/2024"], "date", ["dates_not_used"]),
        (["2024-13-31", "x"], "categorical", []),
        (["2024-01-31", "x"], "categorical", []),
        (["12%", "3 %"], "categorical", ["looks_numeric"]),
        (["1 234", "5 678"], "categorical", ["looks_numeric"]),
        (["inf", "x"], "categorical", []),
        (["NA", "x"], "categorical", ["null_spelling_kept"]),
        (["NA", "N/A"], "categorical", ["null_spelling_kept"]),
        (["", "  "], "empty", ["whitespace_trimmed", "all_missing"]),
        ([" 1", "2 "], "numeric", ["whitespace_trimmed"]),
        (["\u00a01", "2"], "numeric", ["whitespace_trimmed"]),
        (["NA", "NA", "1", "2"], "numeric", []),
    ],
)
def test_the_whole_column_decides_its_type(read, values, kind, warnings):
    for order in (values, values[::-1]):
        schema = read("k,a\n" + "".join(f"{i % 7},{value}\n" for i, value in enumerate(order)))
        column = schema.columns[1]
        assert (column.type, codes(column)) == (kind, warnings)


def test_a_late_value_changes_the_type_of_all_rows(read, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    monkeypatch.setattr(content, "CHUNK_BYTES", 64)
    head = "".join(f"{i % 10}.0,NA\n" for i in range(200))
    schema = read("a,b\n" + head + "x,1\n")
    a, b = schema.columns
    assert (a.type, a.n_categories, codes(a)) == ("categorical", 11, ["mixed_numbers_and_text"])
    assert a.categories == (*(f"{i}.0" for i in range(10)), "x")
    assert (b.type, b.nulls, b.mean) == ("numeric", 200, 1)
    assert read.rows()[-1] == ["x", 1]


def test_few_texts_among_many_different_numbers_are_a_fault(read):
    text = "a\n" + "".join(f"{i}\n" for i in range(100)) + "n.a.\n"
    answer = read.error(text)
    assert (answer["code"], answer["row"], answer["line"], answer["value"]) == ("mixed_column", 100, 102, "n.a.")
    assert only(read(text, null_values="n.a.")).nulls == 1
    assert only(read(text, types='{"a": "categorical"}')).use is False


def test_codes_of_numbers_and_letters_are_categories(read):
    # 60 different codes of diseases, a third of them with a letter: no fault, whatever their number
    text = "a\n" + "".join(f"{'V' if i % 3 == 0 else ''}{i}\n" for i in range(60))
    column = only(read(text))
    assert (column.type, codes(column)) == ("categorical", ["mixed_numbers_and_text", "high_cardinality"])


@pytest.mark.parametrize(
    ("values", "asked", "expected"),
    [
        (["01", "9007199254740993"], "numeric", [1.0, 9007199254740992.0]),
        (["1E5", "2E3"], "numeric", [1e5, 2e3]),
        (["1.0", "2"], "categorical", ["1", "2"]),
        (["1.50", "1"], "categorical", ["1.5", "1"]),
        (["01", "1"], "categorical", ["01", "1"]),
        (["0", "1", "TRUE"], "boolean", [False, True, True]),
        (["0", "NA", "1.0"], "boolean", [False, None, True]),
        (["Jan", "2"], "date", ["Jan", "2"]),
        (["true", "false"], "categorical", ["true", "false"]),
    ],
)
def test_a_type_that_is_asked_for_is_given(read, values, asked, expected):
    read("k,a\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values)), types=f'{{"a": "{asked}"}}')
    assert [row[1] for row in read.rows()] == expected


@pytest.mark.parametrize(("value", "asked"), [("$5", "numeric"), ("Yes", "boolean"), ("2", "boolean")])
def test_a_value_that_is_not_of_the_type_asked_for_is_named(read, value, asked):
    answer = read.error(f"k,a\n0,1\n0,NA\n0,{value}\n", types=f'{{"a": "{asked}"}}')
    assert [answer[name] for name in ("code", "row", "line", "column", "value")] == ["mixed_column", 2, 4, "a", value]


def test_a_spelling_of_nothing_is_kept_with_a_warning_where_categories_are_asked_for(read):
    column = read("a,y\n1,1\nNA,2\n1.0,3\n", types='{"a": "categorical"}').columns[0]
    assert (column.categories, column.nulls, codes(column)) == (("1", "NA"), 0, ["null_spelling_kept"])


def test_equal_numbers_are_one_category(read):
    column = only(read("a\n1\n1.0\nx\n2.0\n"))
    assert column.categories == ("1", "2.0", "x")
    assert {each.category: each.count for each in column.most_frequent} == {"1": 2, "2.0": 1, "x": 1}


def test_many_categories_are_kept_as_text_and_not_used(read):
    limits = TableLimits(max_categories=20)
    text = "c,y\n" + "".join(f"{'a' if i % 2 else i},0\n" for i in range(60))
    column = read("c,y\n" + "".join(f"n{i % 30},0\n" for i in range(60)), limits=limits).columns[0]
    assert (column.type, column.n_categories, column.categories, column.use) == ("categorical", 30, None, False)
    assert codes(column) == ["high_cardinality"]
    assert pq.read_schema(read.parquet).field("c").type == pa.string()
    assert read.rows()[31] == ["n1", 0]
    assert read(text, limits=limits).columns[0].n_categories == 31


def test_long_text_is_no_category(read):
    column = read("c,y\n" + "".join(f"{'x' * (1_001 + i % 2)},{i}\n" for i in range(5))).columns[0]
    assert (column.type, column.use, codes(column)) == ("categorical", False, ["high_cardinality"])
    assert read.rows()[1][0] == "x" * 1_002
    assert (column.distinct, column.distinct_is_exact) == (2, True)


@pytest.mark.parametrize(
    ("n_rows", "n_values", "use"), [(19, 19, True), (20, 18, False), (20, 17, True), (40, 36, False)]
)
def test_a_column_that_names_its_rows_is_not_used(read, n_rows, n_values, use):
    schema = read("k,a\n" + "".join(f"{i},v{i % n_values}\n" for i in range(n_rows)))
    assert (schema.columns[1].use, codes(schema.columns[1])) == (use, [] if use else ["high_cardinality"])


def test_statistics_are_those_of_the_values(read):
    column = only(read("a\n4\n1\n\n3\nNA\n2\n".replace("\n\n", "\n?\n")))
    # 1, 2, 3, 4: mean 2.5, population variance 1.25
    assert (column.nulls, column.distinct, column.mean, column.min, column.max) == (2, 4, 2.5, 1, 4)
    assert column.std == pytest.approx(math.sqrt(1.25), rel=1e-15)
    assert column.quantiles is not None
    assert [column.quantiles[share] for share in ("0.25", "0.5", "0.75")] == [1.75, 2.5, 3.25]


def test_numbers_near_the_largest_have_finite_statistics(read):
    column = only(read("a\n" + "1.7e308\n-1.7e308\n" * 3))
    assert column.mean == pytest.approx(0, abs=1e293)
    assert column.std == pytest.approx(1.7e308)
    assert only(read("a\n" + "1.7e308\n" * 3)).mean == 1.7e308


def test_a_column_that_is_constant_but_for_rounding_is_not_used(read):
    column = read("a,y\n0.3,1\n0.30000000000000004,2\n0.3,3\n").columns[0]
    assert (column.use, codes(column)) == (False, ["constant"])


# Parts


def test_parts_have_one_dictionary_and_nearly_one_size(read):
    rows = [(f"level {i * 7 % 12}", i / 7) for i in range(400_000)]
    read("c,x\n" + "".join(f"{c},{x}\n" for c, x in rows))
    file = pq.ParquetFile(read.parquet)
    # 400,000 rows of 12 bytes are one part; 3,200,000 would be three
    assert file.num_row_groups == 1
    wide = "c," + ",".join(f"x{i}" for i in range(20)) + "\n"
    read(wide + "".join(f"{c}{f',{i}' * 20}\n" for i, (c, _) in enumerate(rows[:200_000])))
    file = pq.ParquetFile(read.parquet)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert (len(sizes), sum(sizes), max(sizes) - min(sizes)) == (3, 200_000, 1)
    for i in range(3):
        levels = file.read_row_group(i)["c"].chunk(0).dictionary.to_pylist()
        assert levels == sorted({c for c, _ in rows})


# Properties

CELLS = st.one_of(
    st.none(),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["true", "False", "NA", "nan", "2024-01-31", "1,5", "007", "1E5", '"', "\r\n", " x ", "é", "5%"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)


def as_csv(names: list[str], rows: list[tuple[str | None, ...]], **dialect: Any) -> str:
    file = io.StringIO()
    writer = csv.writer(file, **dialect)
    writer.writerow(names)
    writer.writerows(rows)
    return file.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12),
    block=st.integers(1, 200),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_is_read_as_it_was_written_whatever_the_size_of_blocks(tmp_path_factory, rows, block, end, quoting):
    if any("\r" in cell for row in rows for cell in row if cell):
        quoting = csv.QUOTE_ALL  # the csv module of Python 3.11 does not quote a lone carriage return
    text = as_csv(["k", "a", "b"], [("k", *row) for row in rows], lineterminator=end, quoting=quoting)
    read = Reader(tmp_path_factory.mktemp("table"))
    asked = '{"k": "categorical", "a": "date", "b": "date"}'  # texts as written
    schema = read(text, delimiter=",", types=asked)
    expected = [["k", *(trim(cell or "") or None for cell in row)] for row in rows]
    written = [[None if cell is None else str(cell) for cell in row] for row in read.rows()]
    spellings = {spelling for column in schema.columns for spelling in column.null_spellings}
    assert written == [[None if cell in spellings else cell for cell in row] for row in expected]

    def outcome() -> Any:
        try:
            return read(text, delimiter=","), read.parquet.read_bytes()
        except TableError as error:
            return error.code, error.members

    whole = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", block)
        patch.setattr(content, "CHUNK_BYTES", block)
        assert outcome() == whole


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00", "Excel workbook: save the table as CSV"),
        (gzip.compress(gzip.compress(b"a,b\n1,2\n", mtime=0), mtime=0), "compressed twice"),
        (b"PAR1\x15\x04\x15\x00", "application/vnd.apache.parquet"),
        (b"a,b\nPK\x03\x04,\x00\n", "is the file UTF-16?"),
    ],
)
def test_a_file_of_another_kind_is_named(read, body, says):
    with pytest.raises(TableError, match=re.escape(says)) as caught:
        read(body)
    assert caught.value.code == "not_utf8"
