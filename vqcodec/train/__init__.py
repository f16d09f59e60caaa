"""Training of a model: data, objective, optimiser, one loop, export (extra `train`)."""
