"""Calibration on the calibration set and figures on the test set, each with its interval.

Evidence for or against a model is in `diagnostics`, maps of where it looks in `saliency`.
"""
