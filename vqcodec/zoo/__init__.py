"""The models: which are shipped, their files, and their tensors."""
