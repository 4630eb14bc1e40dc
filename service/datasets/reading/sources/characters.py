"""Text in any character set, as UTF-8."""

import codecs
from collections.abc import Iterator

import numpy as np

from service.datasets.reading.sources.content import Content
from service.http.errors import TableError
from storage.datasets.schema import TableWarning

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before the mark of UTF-16, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_OTHER_FILES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: save the table as CSV",
    b"PAR1": "Parquet: send it as application/vnd.apache.parquet",
    b"\x93NUMPY": "a .npy file: send it as application/x-npy",
    b"\x1f\x8b": "compressed twice: send it compressed once",
    b"BZh": "compressed with bzip2: use gzip or zstd",
    b"\xfd7zXZ": "compressed with xz: use gzip or zstd",
}
"""What files that are no text begin with."""


class Characters:
    """The text of a file as UTF-8 without a byte order mark."""

    def __init__(self, content: Content, charset: str | None) -> None:
        """Look at the first bytes: a byte order mark is proof enough.

        Args:
            charset: Python's name of the character set of a file without a mark; None: UTF-8.
        """
        self._content = content
        start = next(content.chunks(4), b"")
        mark = next((mark for mark in _MARKS if start.startswith(mark)), None)
        self.n_mark_bytes = len(mark) if mark and _MARKS[mark] == "utf-8" else 0
        self._charset = _MARKS[mark] if mark else charset
        if self._charset == "utf-8":
            self._charset = None

    @property
    def warnings(self) -> tuple[TableWarning, ...]:
        """What to say of the character set."""
        if self._charset is None or not self._charset.startswith(("utf-16", "utf_16")):
            return ()
        return (TableWarning("transcoded_utf16", "the file is UTF-16 and was read as such"),)

    def chunks(self) -> Iterator[bytes]:
        """Yield the text. UTF-8 itself is passed on unchecked: see `check_utf8`.

        Raises:
            TableError: the bytes are no text in the character set.
        """
        if self._charset is None:
            n_skipped = self.n_mark_bytes
            for chunk in self._content.chunks():
                kept, n_skipped = chunk[n_skipped:], max(0, n_skipped - len(chunk))
                if kept:
                    yield kept
            return
        decoder = codecs.getincrementaldecoder(self._charset)()
        n_lines = 1
        try:
            for chunk in self._content.chunks():
                text = decoder.decode(chunk).encode()
                n_lines += text.count(b"\n")
                if text:
                    yield text
            if text := decoder.decode(b"", final=True).encode():
                yield text
        except UnicodeError as error:
            detail = f"near line {n_lines}, the file is not text in the character set {self._charset}: {error}"
            raise TableError("wrong_charset", detail[:500], line=n_lines) from error


def check_utf8(block: bytes, line: int, offset: int) -> None:
    """Check a block of text.

    Args:
        line: of the file, where the block begins.
        offset: of the block, in bytes from the start of the file.

    Raises:
        TableError: it is not UTF-8, or has zero bytes, as UTF-16 without a mark would.
    """
    values = np.frombuffer(block, np.uint8)
    if len(values) and values.min() == 0:
        at, what, hint = block.index(0), "a zero byte", "is the file UTF-16? Then give charset=utf-16-le or utf-16-be"
    elif len(values) == 0 or values.max() < 0x80:
        return
    else:
        try:
            block.decode()
            return
        except UnicodeDecodeError as error:
            at, what = error.start, f"the byte 0x{block[error.start]:02x}, which is not UTF-8"
        hint = "save the file as UTF-8, or give its character set, such as charset=windows-1252"
    if offset == 0 and (other := next((what for mark, what in _OTHER_FILES.items() if block.startswith(mark)), None)):
        hint = f"the file is {other}"
    line += block.count(b"\n" if b"\n" in block else b"\r", 0, at)
    detail = f"line {line} has {what} (byte {offset + at} of the file): {hint}"
    raise TableError("not_utf8", detail, line=line, more={"offset": offset + at})
