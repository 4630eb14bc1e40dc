"""Who comes in: access keys, and what each route needs."""
