"""Output never blocks: what nobody reads is dropped and counted."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator

import pytest

from storage.output import LossyOutput


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of 4 KiB: its reader and its writer."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_a_full_pipe_takes_no_time_and_says_later_how_much_was_lost(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    output = LossyOutput(writer)
    started = time.monotonic()
    for number in range(1_000):
        output.write(f"line {number:04}\n")  # 10 bytes: 409 fit
    assert time.monotonic() - started < 1
    assert output.n_lost == 1_000 - 409
    first = os.read(reader, 8_192)
    assert first.endswith(b"line 0408\n")
    output.write("again\n")
    assert os.read(reader, 8_192) == b"[591 pieces of the log were lost, because nobody read it]\nagain\n"
    # Others who write to the same pipe are not changed.
    assert os.get_blocking(writer)


def test_a_text_that_fits_in_part_is_ended_before_the_next_one(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    output = LossyOutput(writer)
    output.write("x" * 10_000)
    assert os.read(reader, 8_192) == b"x" * 4_096
    output.write("next\n")
    assert os.read(reader, 8_192) == b"\n[1 pieces of the log were lost, because nobody read it]\nnext\n"


def test_a_reader_that_is_only_slow_loses_nothing(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    output = LossyOutput(writer)
    output.write("x" * 4_096)
    timer = threading.Timer(0.01, os.read, (reader, 4_096))
    timer.start()
    output.write("late\n")
    timer.join()
    assert output.n_lost == 0
    assert os.read(reader, 4_096) == b"late\n"


def test_a_reader_that_is_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    output = LossyOutput(writer)
    os.close(reader)
    assert output.write("nobody\n") == 7
    os.close(writer)
