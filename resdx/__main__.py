"""`python -m resdx` is `resdx`."""

from .cli import main

main()
