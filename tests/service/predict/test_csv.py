"""CSV as RFC 4180 has it, and as spreadsheets and data frames write it. The features are `age` and `spend`."""

import numpy as np
import pytest

from service.http.errors import InvalidRequestError, UnsupportedMediaTypeError
from service.predict.formats.csv import read
from service.predict.inputs import Inputs
from service.settings import Limits

NAMES = ("age", "spend")


def features(text: str | bytes, names: tuple[str, ...] = NAMES, **parameters: str) -> list[list[float]]:
    body = text if isinstance(text, bytes) else text.encode()
    return np.asarray(read(body, Inputs(names), Limits(max_predict_instances=5), parameters).features).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "0,1\n2,3\n",
        '"age","spend"\n"0","1"\n"2","3"\n',
        '"0",1\n2,"3"',
        "0,1\n2,3\n\n\n",
        "0,1\r\n2,3\r\n \r\n",
        "0,1\r2,3\r",  # Excel's "CSV (Macintosh)"
        b"\xef\xbb\xbfage,spend\r\n0,1\r\n2,3\r\n",  # Excel's "CSV UTF-8"
        b'\xef\xbb\xbf"spend","age"\r\n1,0\r\n3,2',
        'age, spend \n0, 1\n2, "3"\n',
        "spend,age\n1,0\n3,2\n",
        '"0","1"\r\n"2","3"\r\n\r\n',
    ],
)
def test_a_table_is_read_whoever_wrote_it(text: str | bytes) -> None:
    assert features(text) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("charset", ["utf8", "UTF-8", "utf-8", "us-ascii", ""])
def test_utf_8_has_several_names(charset: str) -> None:
    assert features("0,1", charset=charset) == [[0, 1]]


def test_another_charset_is_refused() -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        features("0,1", charset="latin-1")


def test_names_may_hold_commas_quotes_and_line_breaks() -> None:
    names = ('spend, "net"', "age\nin years")
    assert features('"age\r\nin years","spend, ""net"""\r\n1,0\r\n3,2\r\n', names) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("text", ["1,0\n0,1\n", '"1","0"\n0,1\n'])
def test_features_named_by_numbers_need_the_header_parameter(text: str) -> None:
    assert features(text, ("0", "1")) == [[1, 0], [0, 1]]
    assert features(text, ("0", "1"), header="present") == [[1, 0]]


def test_a_blank_line_is_no_instance_of_a_single_feature() -> None:
    assert features("1\n2\n\n", ("x",)) == [[1], [2]]
    with pytest.raises(InvalidRequestError, match="/1/0: must be a number, not ''"):
        features("1\n\n2\n", ("x",))


@pytest.mark.parametrize(
    ("text", "pointer", "detail"),
    [
        ("nan,1\n0,1\n", "/0/0", "not 'nan'"),
        ("NA,1\n0,1\n", "/0/0", "not 'NA'"),
        (",1\n0,1\n", "/0/0", "not ''"),
        ("inf,NaN\n0,1\n", "/0/0", "not 'inf'"),
        ("1,old\n0,1\n", "/0/1", "not 'old'"),
        ("age,spend\n0,1\n2,nan\n", "/1/1", "not 'nan'"),
        ('"age","spend"\n0,"nan"\n', "/0/1", "not 'nan'"),
        ("0;1\n2;3\n", "", "separate columns by commas"),
        ("age;spend\n2;3\n", "", "separate columns by commas"),
        ("0\t1\n", "", "separate columns by commas"),
        ("0,5;1,5\n", "", "write decimals with a point"),
        ("0,5;1\n", "/0/1", "write decimals with a point"),
        ('"0,5","1"\n', "/0/0", "write decimals with a point"),
        ('age,spend\n0,"1\n2",3\n', "/0/1", "must be a number"),
        ('age,spend\n0,1\n2,"3\n', "/1", "must be a line of CSV"),
        ('age,spend\n0,1\n2,"3"x\n', "/1", "must be a line of CSV"),
        ('"0","1"\n"2"\n', "/1", "expected 2 values"),
        ("age,income\n0,1\n", "", "no column 'spend'"),
        ('"age","spend"\n' + '"0","1"\n' * 6, "", "must hold 1 to 5 instances (MAX_PREDICT_INSTANCES), not 6"),
        ('"age\n\n","spend"\n', "", "not 0"),
        ("\n\n", "", "not 0"),
        ('""', "/0/0", "not ''"),
    ],
)
def test_what_is_wrong_is_named_by_its_cell(text: str, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        features(text, ("x",) if text == '""' else NAMES)
    (fault,) = refused.value.faults
    assert (fault.pointer, detail in fault.detail) == (pointer, True), fault
