"""Whole runs and what is made of several.

Stages, cross-validation, comparison, external validation, export, pre-training. Front ends call these; nothing here prints to
a terminal or parses options.
"""
