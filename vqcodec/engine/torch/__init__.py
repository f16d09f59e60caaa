"""The engine of torch: all that the codec can do."""
