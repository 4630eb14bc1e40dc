"""The files of a folder in which a service is at work."""

import os
from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """Return all files below the folder, in order.

    A folder that disappears while it is listed has none, as when an upload ends; `Path.rglob` raises then.
    """
    return sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)
