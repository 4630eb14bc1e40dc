"""Training jobs: the record, its transitions, events, checkpoints, and what looks after stalled jobs."""
