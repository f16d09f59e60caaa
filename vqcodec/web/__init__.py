"""The decoder as a web page: its files, and a server of them on the loopback address.

`page` has the page itself, modules of JavaScript that decode in the browser; FORMAT.md is their
specification, as it is the package's. Networks are the graphs of `engine.onnx`, computed there by
ONNX Runtime Web, which is not part of this package: see `runtime`.
"""
