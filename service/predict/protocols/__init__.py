"""Other services' protocols for predict, each with its routes and payloads."""
