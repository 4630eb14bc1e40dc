"""The async client, from which `./run generate` writes the other one."""
