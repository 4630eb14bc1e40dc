"""Training jobs: their records, attempts, events and checkpoints, and the repair of stalled jobs."""
