"""Entropy coding: fixed point, frequencies, rANS, and the symbols that it codes."""
