"""Entropy coding: frequency tables, rANS, escapes, sampling, and the prior's fixed-point units."""
