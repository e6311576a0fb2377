"""Loops and fits: gradient descent, classifiers on frozen features, ensembles, searches.

Generators and detectors too.

Only the train and tune parts are seen here.
"""
