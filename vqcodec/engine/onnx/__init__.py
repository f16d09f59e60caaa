"""The engine without torch: ONNX Runtime for the networks, numpy for all else. Optional.

It encodes pictures of one tile, and decodes these and small crops of larger ones, with the models
that are shipped. Its graphs are made of the same files, when they are loaded. The networks of
`vqcodec.nn` are the reference: indices are the same, pixels of float32 within one level in 255.
"""
