"""The service that commands talk to: its address, its errors, tables on their way to it, and jobs that are watched."""
