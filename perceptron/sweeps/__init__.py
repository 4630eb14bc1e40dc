"""Training many candidates in one job."""
