"""Models that vqcodec shipped earlier, as data: index.json and one folder per model."""
