"""The .vqc file as bytes: container, chunks of alpha and metadata, recovery of damaged files."""
