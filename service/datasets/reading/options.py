"""What a client may say about its file: the parameters of the query."""

import codecs
import contextlib
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeAlias, get_args

import orjson

from service.datasets.cells import Decimal
from service.http.errors import Fault, InvalidRequestError
from storage.datasets.categories import trim

AskedType: TypeAlias = Literal["numeric", "boolean", "categorical", "date"]

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}
_HEADERS = {"present": True, "true": True, "absent": False, "false": False}
_NOT_TEXT = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
"""Codecs of Python that are no character set of a file."""

_MAX_SPELLINGS = 100


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file where the rules alone would read it otherwise."""

    delimiter: str | None = None
    """one character; None: it is found"""
    decimal: Decimal = "."
    header: bool | None = None
    """whether the first record has the names; None: it has, and is doubted with a warning"""
    null_values: tuple[str, ...] | None = None
    """the texts that are missing values beside the empty one; None: the usual ones, in columns of numbers, booleans
    and dates"""
    charset: str | None = None
    types: Mapping[str, AskedType] = field(default_factory=dict)

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "ReadOptions":
        """Read the parameters of a query; those that are not ours are left alone.

        `null_values` is a list in JSON, or texts with commas between them. `types` is an object in JSON.

        Raises:
            InvalidRequestError: a value is none of those possible.
        """
        options = cls(
            delimiter=_delimiter(query["delimiter"]) if query.get("delimiter") else None,
            decimal=_decimal(query.get("decimal") or "."),
            header=header_of(query["header"]) if query.get("header") else None,
            null_values=_null_values(query["null_values"]) if "null_values" in query else None,
            charset=charset_of(query["charset"]) if query.get("charset") else None,
            types=_types(query["types"]) if query.get("types") else {},
        )
        if options.decimal == options.delimiter:
            refuse("decimal", f"must differ from the delimiter, which is {options.delimiter!r}")
        return options

    def check_columns(self, names: Sequence[str]) -> None:
        """Check that the columns whose types are given are there.

        Raises:
            InvalidRequestError: one of them is not.
        """
        known = set(names)
        for name in self.types:
            if name not in known:
                nearest = difflib.get_close_matches(name, names, 1)
                hint = f"; the nearest name is {nearest[0][:100]!r}" if nearest else ""
                refuse(f"types/{_escaped(name)}", f"the table has no column {name[:100]!r}{hint}")


def refuse(parameter: str, detail: str) -> NoReturn:
    """Raise the error for a parameter of the query."""
    raise InvalidRequestError([Fault(f"/{parameter}", detail)])


def charset_of(text: str) -> str | None:
    """Give Python's name of a character set; None for UTF-8, which needs none.

    Raises:
        InvalidRequestError: Python has no such character set.
    """
    try:
        codec = codecs.lookup(text.strip())
        name = codec.name
        if not codec._is_text_encoding or name.replace("-", "_") in _NOT_TEXT:
            raise LookupError
    except (LookupError, ValueError):
        raise InvalidRequestError(
            [Fault("/charset", f"must be a character set such as utf-16, latin-1 or windows-1252, not {text[:60]!r}")]
        ) from None
    return None if name in ("utf-8", "utf-8-sig", "ascii") else name


def _delimiter(text: str) -> str:
    delimiter = _DELIMITERS.get(text.lower(), text)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n\0+-.':
        refuse("delimiter", f"must be one character such as , ; | or tab, not {text[:20]!r}")
    return delimiter


def _decimal(text: str) -> Decimal:
    if text not in (".", ","):
        refuse("decimal", f"must be . or , but not {text[:20]!r}")
    return "," if text == "," else "."


def header_of(text: str) -> bool:
    """Tell whether the first record has the names.

    Raises:
        InvalidRequestError: the text is neither present nor absent.
    """
    if text.lower() not in _HEADERS:
        refuse("header", f"must be present or absent, not {text[:20]!r}")
    return _HEADERS[text.lower()]


def _null_values(text: str) -> tuple[str, ...]:
    values: object = text.split(",")
    if text.lstrip().startswith("["):
        with contextlib.suppress(orjson.JSONDecodeError):  # it may be the spelling [missing]
            values = orjson.loads(text)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        refuse("null_values", 'must be texts such as NA,-999 or a list in JSON such as ["NA", "n.a., unknown"]')
    if len(values) > _MAX_SPELLINGS:
        refuse("null_values", f"may have at most {_MAX_SPELLINGS} texts, not {len(values)}")
    return tuple(dict.fromkeys(spelling for value in values if (spelling := trim(value))))


def _types(text: str) -> Mapping[str, AskedType]:
    try:
        types = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError([Fault("/types", f"must be an object in JSON: {error}")]) from error
    if not isinstance(types, dict):
        refuse("types", 'must be an object such as {"store": "categorical"}')
    for name, asked in types.items():
        if asked not in get_args(AskedType):
            refuse(
                f"types/{_escaped(name)}", f"must be one of {', '.join(get_args(AskedType))}, not {str(asked)[:60]!r}"
            )
    return {trim(name): asked for name, asked in types.items()}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
