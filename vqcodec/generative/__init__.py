"""Sampling, inpainting and restoration with the networks of the codec."""
