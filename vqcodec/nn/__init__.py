"""The networks: tensors in, tensors out. No files, no bytes, no losses."""
