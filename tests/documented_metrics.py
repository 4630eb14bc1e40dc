"""The metrics that docs/operations.md lists."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
_ROW = re.compile(r"^\| `((?:perceptron|rq)_\w+)` \|([^|]*)\|", re.MULTILINE)


def documented() -> dict[str, set[str]]:
    """The labels of each metric, by its name."""
    section = PAGE.read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in _ROW.findall(section)}
