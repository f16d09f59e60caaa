"""Old names of modules, importable from `vqcodec` itself for one version."""
