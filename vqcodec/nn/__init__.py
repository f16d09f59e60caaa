"""The networks, and what stands in for rate and distance where a gradient is needed: tensors in,
tensors out. No files, no bytes, no training."""
