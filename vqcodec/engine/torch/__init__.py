"""The engine on torch: the reference, with gradients and GPUs."""
