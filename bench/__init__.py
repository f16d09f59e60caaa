"""The benchmark: rate and distortion, speed, and exact indices. Run as `python -m bench`."""
