"""What is known about data sets."""
