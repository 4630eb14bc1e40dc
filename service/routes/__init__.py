"""One file for each resource, named as its URL."""
