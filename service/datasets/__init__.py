"""Data sets: tables as people have them, read once, typed, described column by column."""
