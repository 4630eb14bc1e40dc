from pathlib import Path

import pytest

from storage import memory_limit
from storage.memory_limit import max_training_bytes, memory_bytes, share_of_memory

GIB = 1024**3


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_memory_is_that_of_the_container_if_it_has_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(memory_limit, "_CGROUP", tmp_path)
    of_machine = memory_bytes()
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    for text, expected in ((f"{GIB}\n", GIB), ("max\n", of_machine), (f"{2**63 - 4096}\n", of_machine)):
        file.write_text(text)
        assert memory_bytes() == expected
    file.write_text(f"{GIB}\n")
    # three quarters of 1,024 - 256 MB
    assert share_of_memory(1) == 576 * 1024**2
    assert share_of_memory(3) == 192 * 1024**2
    assert max_training_bytes({}) == 576 * 1024**2
    assert max_training_bytes({"MAX_TRAINING_BYTES": "1000"}) == 1000
