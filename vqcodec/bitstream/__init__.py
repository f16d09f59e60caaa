"""The .vqc file as bytes: container, chunks, and what can be saved of damaged ones."""
