"""Rows to predict for, read from a file block by block, and the file of answers."""
