"""Every input that is kept for the fuzzer is read as it should be: taken, or refused in the documented way."""

from pathlib import Path

import pytest

from tests.fuzz.corpus import FOLDER, MAX_BYTES, inputs
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("path", [path for name in TARGETS for path in inputs(name)], ids=lambda path: path.parent.name)
def test_what_was_found_once_is_found_no_more(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_cut_off_or_changed_is_refused_or_read(name: str) -> None:
    for path in inputs(name):
        content = path.read_bytes()
        for k in range(0, len(content), max(1, len(content) // 40)):
            TARGETS[name](content[:k])
            TARGETS[name](content[:k] + bytes([content[k] ^ 0xFF]) + content[k + 1 :])


def test_each_target_has_a_corpus_and_no_input_is_long() -> None:
    assert {path.name for path in FOLDER.iterdir()} == TARGETS.keys() == {name for name, _ in seeds()}
    assert max(path.stat().st_size for name in TARGETS for path in inputs(name)) <= MAX_BYTES
