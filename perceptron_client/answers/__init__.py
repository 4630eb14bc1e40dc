"""What the service answers, as frozen values."""
