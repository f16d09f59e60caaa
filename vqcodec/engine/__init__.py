"""Engines: the backends that compute the networks, and tiling and scheduling for all of them."""
