"""What a request brings to learn from, lists or columns, as instances and targets."""
