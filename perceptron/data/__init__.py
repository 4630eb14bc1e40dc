"""What is learned from: instances, targets and the task that they define, and parts of them."""
