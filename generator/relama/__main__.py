"""`python -m relama`."""

from relama.cli import main

main(prog_name="relama")
