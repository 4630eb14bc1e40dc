"""Other services' protocols, each with its routes, payloads, reader and writer."""
