"""The models that come with vqcodec, as data: index.json and one folder per model."""
