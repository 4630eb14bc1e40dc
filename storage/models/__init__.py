"""Models: immutable versions and aliases."""
