"""From a trained model to answers: runs and exported folders opened, logits, calibration, OOD scores, files answered.

An exported folder is answered without PyTorch, so `bundle` and `predictor` do not import it.
"""
