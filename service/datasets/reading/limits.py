"""How large a table may be."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from storage.store_settings import at_least_one


@dataclass(frozen=True)
class TableLimits:
    """Errors name a limit by its setting: its name here, in capitals."""

    max_dataset_bytes: int = 4 * 1024**3
    """of the table, after its compression is undone"""
    max_dataset_rows: int = 100_000_000
    max_dataset_columns: int = 20_000
    max_line_bytes: int = 1024**2
    """of one record or one field of text, quoted line breaks included"""
    max_categories: int = 1_000

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "TableLimits":
        """Read MAX_DATASET_BYTES and so on.

        Raises:
            ValueError: one of them is not a whole number of at least 1.
        """
        names = [field.name for field in fields(cls)]
        return cls(**{name: at_least_one(env, name.upper(), getattr(cls, name)) for name in names})
