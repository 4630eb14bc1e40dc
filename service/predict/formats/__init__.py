"""How instances and outputs are written as bytes: one file for each format, listed in `table.py`."""
