"""Front ends over `inference` and `studies`: the command line and the demo.

Each parses, calls one function and shows the answer.
"""
