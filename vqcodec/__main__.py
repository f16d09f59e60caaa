"""`python -m vqcodec` is the command line."""

from .cli import main

main(prog_name="vqcodec")
