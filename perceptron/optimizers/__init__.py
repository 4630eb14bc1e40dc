"""How a network is trained: one record for each optimizer."""
