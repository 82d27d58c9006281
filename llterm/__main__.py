"""`python -m llterm`."""

from llterm.cli import main

main()
