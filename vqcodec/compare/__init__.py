"""Comparison with other codecs on one picture, and maps of how a file spends its bits."""
