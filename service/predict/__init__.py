"""Predict: one function for every protocol and format."""
