"""vqcodec in the frameworks of data sets. Nothing here imports the framework it is for."""
