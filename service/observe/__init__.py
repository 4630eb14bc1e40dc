"""What operators and orchestrators ask: health."""
