"""One module for each command or family of commands. Each has a dictionary `COMMANDS`, from which `cli.main` loads."""
