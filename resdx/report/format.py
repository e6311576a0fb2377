"""Figures in words: how an Estimate, a count and the name of a metric are written on a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

Json = dict[str, Any]
Figure = Mapping[str, Any]  # what Estimate.to_json gives

NAMES = {
    "macro_auroc": "AUROC, mean of classes",
    "macro_f1": "F1, mean of classes",
    "accuracy": "Accuracy",
    "majority_rate": "Always the commonest class",
    "balanced_accuracy": "Balanced accuracy",
    "mcc": "Matthews correlation",
    "quadratic_kappa": "Kappa, quadratic weights",
    "brier": "Brier score (lower is better)",
    "ece": "Calibration error (lower is better)",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "prevalence": "Prevalence",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "sensitivity_at_specificity_90": "Sensitivity at specificity 0.90",
    "sensitivity_at_specificity_95": "Sensitivity at specificity 0.95",
    "specificity_at_sensitivity_90": "Specificity at sensitivity 0.90",
    "specificity_at_sensitivity_95": "Specificity at sensitivity 0.95",
    "work_saved": "Work saved at sensitivity 0.99",
    "ap50": "AP50",
    "ap50_95": "AP50:95",
    "voc_ap50": "AP50 (VOC)",
    "log_average_miss_rate": "Miss rate, log-average",
    "precision": "Precision",
    "recall": "Recall",
}

METHODS = {
    "cam": "Class activation",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "occlusion": "Occlusion",
    "integrated": "Integrated gradients",
}


def named(key: str) -> str:
    """A metric as a person calls it."""
    return NAMES.get(key, key.replace("_", " "))


def figure(estimate: Figure) -> str:
    """The value of an Estimate, three decimals."""
    return "not estimable" if estimate["value"] is None else f"{estimate['value']:.3f}"


def interval(estimate: Figure) -> str:
    """The interval of an Estimate, "0.893–0.974"; a minus sign keeps its own dash.

    Empty where there is none.
    """
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return ""
    return f"{low:.3f} to {high:.3f}" if low < 0 else f"{low:.3f}–{high:.3f}"


def with_interval(estimate: Figure) -> str:
    """ "0.930 (95 % interval 0.878–0.961)"."""
    between = interval(estimate)
    return figure(estimate) + (f" (95 % interval {between})" if between else "")


def listed(names: Iterable[str], most: int = 8) -> str:
    """ "a, b and 3 more"."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more:,} more" if more > 0 else "")


def method(name: str) -> str:
    """A way to draw maps as a person calls it."""
    key = name.lower().replace("_", "").replace("-", "").removesuffix("gradients")
    return METHODS.get(key, name)


def code(text: str) -> Markup:
    """Text in which `backticks` become code."""
    pieces = [Markup("<code>{}</code>" if number % 2 else "{}").format(piece) for number, piece in enumerate(text.split("`"))]
    return Markup("").join(pieces)
