"""Loops and fits: gradient descent, classifiers on frozen features, ensembles, searches, generators and detectors.

Only the train and tune parts are seen here.
"""
