"""Ways to run a trained network, one module an engine."""
