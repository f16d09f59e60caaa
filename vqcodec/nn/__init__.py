"""The networks in torch, and what stands in for rate and distance where a gradient is needed.

Tensors in, tensors out: no files, no bytes, no training. Names of parameters and of persistent
buffers stay as they are: they are the keys of a model's tensors, and with the fields of its config
they are hashed into the model id (FORMAT.md, "Model"), so that a renamed attribute would change the
id of every model. Classes, locals and non-persistent buffers may be renamed.
"""
