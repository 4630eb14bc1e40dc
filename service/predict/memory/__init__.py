"""Models in process memory, and which version each name points at."""
