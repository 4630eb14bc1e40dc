"""The cases of ../shared/tables, which lies beside the repository and is no part of it: without it there are none."""

import json
from pathlib import Path
from typing import Any

_ABOVE = Path(__file__).resolve().parents
TABLES = next((folder / "shared/tables" for folder in _ABOVE if (folder / "shared/tables").is_dir()), Path("nowhere"))


def shared_cases() -> list[tuple[Path, dict[str, Any]]]:
    """The folder of each case, and the case."""
    return [(path.parent, json.loads(path.read_bytes())) for path in sorted(TABLES.glob("*/case.json"))]
