"""`/jobs`: accept, show, list and cancel training jobs."""
