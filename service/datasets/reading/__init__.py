"""From a file as uploaded to one Parquet file and its schema. Only `read` and what it imports load pyarrow."""

from service.datasets.reading.limits import TableLimits
from service.datasets.reading.options import ReadOptions

__all__ = ["ReadOptions", "TableLimits"]
