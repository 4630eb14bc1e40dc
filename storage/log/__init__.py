"""How all our processes log: the settings, the form of a line, and what an error may say in it."""
