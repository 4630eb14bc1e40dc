"""Metrics in the format of Prometheus: counted in plain numbers, poured into files that all processes share."""
