"""The training worker: the process that RQ runs, and the training of one job."""
