"""Adapters for data set frameworks. Those of Ray and WebDataset import neither, nor torch."""
