"""The model zoo: which models are shipped, their files, their tensors."""
