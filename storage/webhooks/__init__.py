"""Webhooks: who may receive events about jobs, and which events still have to be delivered."""
