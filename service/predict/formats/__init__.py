"""How instances and outputs are written as bytes, one module for each format."""
