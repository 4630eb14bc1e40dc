"""What every route shares: strict JSON, errors, media types, OpenAPI. Only `flask_*.py` know Flask."""
