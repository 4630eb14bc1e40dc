"""Everything that is kept: jobs and models in Redis, data sets in a blob store, and the training queue."""
