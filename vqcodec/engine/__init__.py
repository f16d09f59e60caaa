"""The backends that compute the networks, and what is neutral to them."""
