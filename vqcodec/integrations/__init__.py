"""Adapters for data set frameworks. Nothing here imports the framework it is for."""
