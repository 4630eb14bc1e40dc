"""What every route shares: strict JSON, errors, media types and OpenAPI helpers."""
