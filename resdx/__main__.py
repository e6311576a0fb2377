"""`python -m resdx` is `resdx`."""

from .apps.cli.main import main

main()
