"""`/models`: the registry of versions and aliases."""
