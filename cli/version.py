"""Which version of the service this is."""

import importlib.metadata
import tomllib
from pathlib import Path


def version() -> str:
    """Return the version of the installed distribution, or of the checkout."""
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    try:
        return str(tomllib.loads(pyproject.read_text())["project"]["version"])
    except OSError:
        return importlib.metadata.version("perceptron-service")
