"""Hide pandas: pyarrow looks for it wherever it meets an array, which takes as long as all other imports together."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("the command needs no pandas", name=name)


def hide_pandas() -> None:
    """Let pandas seem not to be installed, in this process."""
    sys.meta_path.insert(0, _NoPandas())
