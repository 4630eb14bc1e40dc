"""Tells webhooks the end of jobs: a process beside the worker, so that a slow receiver holds up no training.

It is no thread of the worker, because the worker forks: a child that is forked while another thread resolves a name or
speaks TLS may inherit a lock that nobody frees.
"""
