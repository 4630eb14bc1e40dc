"""What RQ runs: training a job from its record, and the process that does it."""
