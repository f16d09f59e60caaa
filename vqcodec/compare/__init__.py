"""Pictures of several codecs side by side, and where the bits of one go."""
