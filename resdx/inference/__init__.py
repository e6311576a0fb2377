"""From a trained model to answers.

Runs and exported folders are opened, logits, calibration and OOD scores applied, files answered. An exported folder is
answered without PyTorch, so `bundle` and `predictor` do not import it.
"""
