"""Fit calibrator, operating points and conformal limits, from the calibration set alone.

Each case counts 1 / (cases of its person), so that a person with many images has one voice. All calibrators are one affine
map a logit, `logit * scale + bias`, which an exported graph holds as two constants. They differ in what is free:

    temperature   one common scale                        classes, trained unweighted (Guo et al. 2017)
    platt         one common scale, one bias a class      classes, trained weighted or balanced: the bias undoes the shifted
                                                          prior, which no temperature can (Platt 1999; Alexandari et al. 2020)
    cumulative    one common scale, one bias a question   grades
    labels        one scale and one bias a class          several labels, unknown ones masked

The fit is a penalised likelihood: log scale and bias have normal priors around the identity, and the scale is bounded,
because a separable calib part would otherwise send it to infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from ..data.tasks import Classify, MultiLabel, Ordinal, Task, positive_class
from ..errors import DataError
from ..inference.calibration import ENOUGH, Calibration, OperatingPoint, check_logits
from ..metrics.classification import brier, cumulative, ece
from ..metrics.persons import Floats, Mask, Persons, case_weights, number_persons
from ..runs.settings import ALPHA
from .referral import fit_referral

SPREAD_SCALE = math.log(2)  # standard deviation of the prior on log scale: a factor of two either way is ordinary
SPREAD_BIAS = 3.0  # the same for a bias, in logits; balanced training at 5 % prevalence shifts by 2.9
MOST_SCALE = 20.0  # the scale stays between 1/20 and 20
FOLDS = 5  # by person, for the cross-fitted figures
WORSE = 0.01  # rise of the log loss, in nats, that is worth a word
FEW_PERSONS = 100  # below this the report says that calibration rests on few persons
SENSITIVITIES = (0.90, 0.95, 0.99)
SPECIFICITIES = (0.90, 0.95)
LIKE_LEVEL = 0.99  # share of calib persons that count as like the training cases
MOVED = 0.05  # difference of a class's share by image and by person from which the calibrator gets a bias
EPSILON = 1e-9  # sums of weights such as 9 * 0.1 miss their target by rounding


def fit_calibration(
    task: Task,
    classes: Sequence[str],
    logits: ArrayLike,
    truth: ArrayLike,
    groups: Sequence[str],
    *,
    balanced_training: bool,
    level: float = 0.90,
    distance: ArrayLike | None = None,
    cross_fitted: bool = False,
    alpha: float = ALPHA,
) -> Calibration:
    """Fit calibrator, operating points, referral and conformal limits on the calibration set.

    Args:
        logits: (N, outputs) of the model, after test-time augmentation and from the engine that will be used.
        truth: (N, K) of `tasks.truth`, NaN where not assessed.
        groups: the person of each case; an empty one makes the case a person of its own.
        balanced_training: the loss or the sampling gave rare classes more weight than they have in the data.
        level: share of cases of each class whose conformal set keeps that class.
        distance: (N,) of `OodScore` on the same cases, for the threshold of "unlike-training".
        cross_fitted: the cases are no part of their own: each was answered by a fit that had seen nothing of its person.
        alpha: share of the cases of each class that may be answered wrongly.

    Raises:
        DataError: the arrays do not fit each other, a value is not finite, or calib holds fewer than two classes.
    """
    if not 0.5 <= level < 1:
        raise DataError(f"the conformal level must be at least 0.5 and below 1, not {level}")
    z, y, person, everyone = _check_calib(task, classes, logits, truth, groups)
    unlike_above = None if distance is None else _unlike_above(np.asarray(distance, float), everyone)
    by_person = [_share(y[:, k], person) for k in range(len(classes))]
    method = _method(task, balanced_training or _is_moved(task, y, by_person))
    scale, bias = _fit(task, method, z, y, person)
    p = _probabilities(task, z * scale + bias)
    columns, several = range(len(classes)), isinstance(task, MultiLabel)
    having, lacking = ([len(np.unique(person[y[:, k] == side])) for k in columns] for side in (1, 0))
    figures, persons = _cross_fitted(task, method, z, y, person), len(np.unique(person))
    return Calibration(
        task=task,
        classes=tuple(classes),
        method=method,
        scale=tuple(map(float, scale)),
        bias=tuple(map(float, bias)),
        level=level,
        present=tuple(_limit_within(1 - p[:, k], y[:, k] == 1, person, level) for k in columns),
        absent=tuple(_limit_within(p[:, k], y[:, k] == 0, person, level) for k in columns) if several else (),
        prior=tuple(by_person),
        persons=persons,
        cases=len(person),
        class_persons=tuple(having),
        class_cases=tuple(map(int, (y == 1).sum(0))),
        points=_points(task, classes, p, y, person),
        unlike_above=unlike_above,
        figures=figures,
        notes=(*_notes(task, classes, level, persons, having, lacking, cross_fitted, distance is not None), *_worse(figures)),
        referral=None if several else fit_referral(task, z, y, person, alpha),
    )


def conformal_limit(scores: ArrayLike, weights: ArrayLike, level: float = 0.90) -> float | None:
    """The score that a case of a new person exceeds with probability at most 1 - level.

    None with too few persons.

    `weights` sum to the number of persons G. One more person, the new one, may lie anywhere: so the weight at or below the limit
    must reach level * (G + 1) (Lee, Barber and Willett 2023, hierarchical conformal prediction). With one case a person this is
    the ordinary split-conformal quantile. It needs G >= level / (1 - level): 9 persons for 0.90, 19 for 0.95.
    """
    score, weight = np.asarray(scores, float), np.asarray(weights, float)
    if score.ndim != 1 or score.shape != weight.shape or np.isnan(score).any():
        raise DataError(f"scores of shape {score.shape} and weights of shape {weight.shape} must be one number a case, none NaN")
    order = np.argsort(score, kind="stable")
    mass = np.cumsum(weight[order])
    reached = mass >= level * (round(float(weight.sum())) + 1) - EPSILON
    return float(score[order][reached.argmax()]) if reached.any() else None


def basis_note(persons: int, *, cross_fitted: bool = False) -> str | None:
    """The sentence a report needs on what calibration rests on; None for a calib part of enough persons."""
    few = "expect them to be rough on new persons"
    if cross_fitted:
        return (
            f"calibration, thresholds and sets rest on cross-fitted out-of-fold scores of {_count(persons)}: each case was "
            "answered "
            "by a fit that had seen nothing of its person" + ("" if persons >= FEW_PERSONS else f"; they are few, {few}")
        )
    if persons >= FEW_PERSONS:
        return None
    return (
        f"calibration, thresholds and sets rest on {_count(persons)} (fewer than {FEW_PERSONS}): {few}, or run with --folds for "
        "cross-fitted scores of every person; the calibration figures are cross-fitted, each person judged by a calibrator that "
        "has not seen it"
    )


# --- the calibrator


def _is_moved(task: Task, truth: Floats, by_person: Sequence[float]) -> bool:
    """Whether the class balance by person is another than by image.

    Each person counts once here, each image in training, so that it is a shift like any other.
    """
    return isinstance(task, Classify) and bool(np.abs(truth.mean(axis=0) - by_person).max() > MOVED)


def _method(task: Task, balanced: bool) -> str:
    if isinstance(task, MultiLabel):
        return "labels"
    if isinstance(task, Ordinal):
        return "cumulative"
    return "platt" if balanced else "temperature"


def _fit(task: Task, method: str, logits: Floats, truth: Floats, person: Persons) -> tuple[Floats, Floats]:
    """(scale, bias) of each logit, of greatest penalised likelihood; each person counts once."""
    outputs = logits.shape[1]
    # A temperature (Guo et al. 2017) is one scale; Platt adds biases, and labels have a scale each.
    scales, biases = outputs if method == "labels" else 1, 0 if method == "temperature" else outputs
    spread = np.repeat([SPREAD_SCALE, SPREAD_BIAS], [scales, biases])
    loss_and_slope = _likelihood(task, truth, person)

    def objective(theta: Floats) -> tuple[float, Floats]:
        scaled = logits * np.exp(theta[:scales])  # the logarithm keeps the scale above 0
        loss, slope = loss_and_slope(scaled + theta[scales:] if biases else scaled)
        # d loss / d log scale = slope * scaled
        by_scale, by_bias = (slope * scaled).sum(axis=0), slope.sum(axis=0)[:biases]
        gradient = np.concatenate([by_scale if method == "labels" else [by_scale.sum()], by_bias])
        return loss + ((theta / spread) ** 2).sum() / 2, gradient + theta / spread**2  # normal priors, of log scale and of bias

    bounds = [(-math.log(MOST_SCALE), math.log(MOST_SCALE))] * scales + [(None, None)] * biases
    theta = minimize(objective, np.zeros(scales + biases), jac=True, method="L-BFGS-B", bounds=bounds).x
    scale = np.broadcast_to(np.exp(theta[:scales]), (outputs,))
    return scale, theta[scales:] if biases else np.zeros(outputs)


def _likelihood(task: Task, truth: Floats, person: Persons) -> Callable[[Floats], tuple[float, Floats]]:
    """The function z (N, outputs) -> (negative log likelihood, its gradient) for the targets of `task`."""
    above = np.cumsum(truth[:, ::-1], axis=1)[:, ::-1]  # 1 where the grade is at least k
    target = above[:, 1:] if isinstance(task, Ordinal) else truth
    weight = np.stack([case_weights(person, known) for known in ~np.isnan(target.T)], axis=1)  # (N, outputs), 0 where not known
    target = np.nan_to_num(target)

    def one_class(z: Floats) -> tuple[float, Floats]:
        loss = weight[:, 0] @ (logsumexp(z, axis=1) - (z * target).sum(axis=1))  # cross-entropy, of targets that sum to 1
        return float(loss), weight * (softmax(z, axis=1) - target)

    def each_alone(z: Floats) -> tuple[float, Floats]:
        loss = (weight * (np.logaddexp(0, z) - z * target)).sum()  # log(1 + e^z) - z y
        return float(loss), weight * (expit(z) - target)

    return one_class if isinstance(task, Classify) else each_alone


def _cross_fitted(task: Task, method: str, logits: Floats, truth: Floats, person: Persons) -> dict[str, float]:
    """Figures before and after, each person judged by a calibrator fitted on the others.

    Empty for a single person.
    """
    persons = int(person.max()) + 1
    if persons < 2:
        return {}
    fold = (np.random.default_rng(0).permutation(persons) % FOLDS)[person]  # each person lies in one fold
    after = logits.copy()
    for out in (fold == f for f in np.unique(fold)):
        scale, bias = _fit(task, method, logits[~out], truth[~out], person[~out])
        after[out] = logits[out] * scale + bias
    stages = {"before": _probabilities(task, logits), "after": _probabilities(task, after)}
    return {f"{name}_{when}": value for when, p in stages.items() for name, value in _figures(task, p, truth, person).items()}


def _figures(task: Task, p: Floats, truth: Floats, person: Persons) -> dict[str, float]:
    """Log loss, Brier score and calibration error by persons.

    Means over the classes where there may be several labels.
    """
    if not isinstance(task, MultiLabel):
        return _scores(truth.argmax(axis=1), p, case_weights(person, np.ones(len(p), bool)))
    known = ~np.isnan(truth)
    each = [
        _scores(truth[seen, k], np.stack([1 - p[seen, k], p[seen, k]], axis=1), case_weights(person, seen)[seen])
        for k, seen in enumerate(known.T)
        if seen.any()
    ]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _scores(column: NDArray[np.float64] | NDArray[np.int64], p: Floats, weight: Floats) -> dict[str, float]:
    right = p[np.arange(len(p)), column.astype(int)]  # the probability of what was true
    log_loss = -weight @ np.log(np.maximum(right, 1e-7)) / weight.sum()  # 1e-7: the resolution of a float32 near 1
    return {"log_loss": float(log_loss), "brier": float(brier(column, p, weight)), "ece": float(ece(column, p, weight))}


# --- operating points, limits and notes


def _points(task: Task, classes: Sequence[str], p: Floats, truth: Floats, person: Persons) -> tuple[OperatingPoint, ...]:
    wanted = set(classes) if isinstance(task, MultiLabel) else {positive_class(task, classes)}
    return tuple(
        point for k, name in enumerate(classes) if name in wanted for point in _points_of(name, p[:, k], truth[:, k], person)
    )


def _points_of(name: str, p: Floats, truth: Floats, person: Persons) -> list[OperatingPoint]:
    """All operating points of one class; none where calib lacks cases with it or without it.

    Those of a sensitivity need 100 persons with the class, those of a specificity 100 without.
    Thresholds lie between neighbouring probabilities, so that an engine that rounds differently decides the same.
    """
    known = ~np.isnan(truth)
    p, person, having, lacking = p[known], person[known], truth[known] == 1, truth[known] == 0
    persons = len(np.unique(person[having])), len(np.unique(person[lacking]))
    if not all(persons):
        return []
    # either class weighs 1 in all
    weight = case_weights(person, having) / persons[0] + case_weights(person, lacking) / persons[1]
    sensitivity, fall_out = cumulative(having, p, weight)  # (U + 1,) each, from 0
    values = np.unique(p)[::-1]  # highest first, as `cumulative` goes
    # Above all (nobody is called), between neighbours, and 0 (everybody is).
    thresholds = np.concatenate([[np.nextafter((values[0] + 1) / 2, 2)], (values[1:] + values[:-1]) / 2, [0.0]])
    youden = sensitivity - fall_out
    at = {"youden": np.flatnonzero(youden >= youden.max() - EPSILON)[-1]}  # of equal ones the lowest threshold
    # Of few persons the threshold of a goal is an order statistic that promises too much.
    if persons[0] >= ENOUGH:  # the highest threshold that reaches it
        at |= {f"sensitivity {goal:.2f}": np.flatnonzero(sensitivity >= goal - EPSILON)[0] for goal in SENSITIVITIES}
    if persons[1] >= ENOUGH:  # the lowest threshold that keeps it
        at |= {f"specificity {goal:.2f}": np.flatnonzero(1 - fall_out >= goal - EPSILON)[-1] for goal in SPECIFICITIES}
    reached = np.clip([sensitivity, 1 - fall_out], 0, 1).round(9)
    return [
        OperatingPoint(name, goal, float(thresholds[i]), float(reached[0, i]), float(reached[1, i]), *persons)
        for goal, i in at.items()
    ]


def _limit_within(scores: Floats, among: Mask, person: Persons, level: float) -> float | None:
    """The limit within one class (Mondrian), so that a rare class is kept as often as a frequent one.

    The score is 1 - p of the class itself: of all scores it gives the smallest sets (Sadinle, Lei and Wasserman 2019), it needs
    no random ties, for two classes it does not depend on the calibrator at all, and an empty set is an answer too.
    """
    return conformal_limit(scores[among], case_weights(person, among)[among], level)


def _unlike_above(distance: Floats, person: Persons) -> float:
    """The LIKE_LEVEL quantile by persons, a new one among them; below 99 persons the farthest case."""
    if distance.shape != person.shape or not np.isfinite(distance).all():
        raise DataError(f"calib has {len(person)} cases but distances of shape {distance.shape}; give one finite distance a case")
    limit = conformal_limit(distance, case_weights(person, np.ones(len(person), bool)), LIKE_LEVEL)
    return float(distance.max()) if limit is None else limit


def _notes(
    task: Task,
    classes: Sequence[str],
    level: float,
    persons: int,
    having: Sequence[int],
    lacking: Sequence[int],
    cross_fitted: bool,
    distances: bool,
) -> tuple[str, ...]:
    needed = math.ceil(level / (1 - level) - EPSILON)
    notes = [basis_note(persons, cross_fitted=cross_fitted)]
    if distances and (persons + 1) * (1 - LIKE_LEVEL) < 1 - EPSILON:
        notes.append(
            f"the OOD limit is the farthest case of {_count(persons)}: up to {1 / (persons + 1):.0%} of cases like the training "
            f"cases are flagged unlike-training ({1 - LIKE_LEVEL:.0%} with 99 persons)"
        )
    where = "among the cross-fitted cases" if cross_fitted else "in the calib part"
    for name, present, absent in zip(classes, having, lacking, strict=True):
        if present < needed:
            notes.append(
                f"class {name} has {_count(present)} {where}: it always stays in the {level:.0%} set, which takes {needed}"
            )
        if isinstance(task, MultiLabel) and absent < needed:
            notes.append(
                f"class {name} is known to be absent in {_count(absent)} {where}: it is never surely present, which takes "
                f"{needed}"
            )
    return tuple(note for note in notes if note)


def _worse(figures: Mapping[str, float]) -> list[str]:
    before, after = figures.get("log_loss_before", 0.0), figures.get("log_loss_after", 0.0)
    if after <= before + WORSE:
        return []
    return [
        f"the calibrator made the log loss of persons it has not seen worse ({before:.3f} before, {after:.3f} after): "
        "what it learnt here may not hold for new persons"
    ]


def _count(persons: int) -> str:
    return f"{persons} {'person' if persons == 1 else 'persons'}"


# --- persons, shares and checks


def _share(truth: Floats, person: Persons) -> float:
    """Share of a class by persons; 0 where it was never assessed."""
    weight = case_weights(person, ~np.isnan(truth))
    return float(weight @ (truth == 1) / max(weight.sum(), EPSILON))


def _probabilities(task: Task, z: Floats) -> Floats:
    """Probabilities as a deployed model gives them, rounded to float32.

    So limits and thresholds meet the same numbers.
    """
    return np.asarray(task.probabilities(z.astype(np.float32)), np.float64)


def _check_calib(
    task: Task, classes: Sequence[str], logits: ArrayLike, truth: ArrayLike, groups: Sequence[str]
) -> tuple[Floats, Floats, Persons, Persons]:
    """Logits, truth and persons of the cases that are assessed, and the persons of all cases."""
    z, y = check_logits(task, classes, logits), np.asarray(truth, float)
    if y.shape != (len(z), len(classes)) or len(groups) != len(z):
        raise DataError(
            f"calib has {len(z)} cases of logits, truth of shape {y.shape} and {len(groups)} groups; give the same cases"
        )
    if not (np.isnan(y) | (y == 0) | (y == 1)).all():
        raise DataError("the truth of the calib part must be 0, 1 or NaN; make it by tasks.truth")
    if np.isnan(y).all():
        raise DataError("no case of the calib part is assessed; split again so that calib has labelled cases")
    if not isinstance(task, MultiLabel):
        y = np.where(np.isnan(y).any(axis=1, keepdims=True), np.nan, y)  # a case that is not wholly known is not assessed
        if (np.nansum(y, axis=1) != ~np.isnan(y[:, 0])).any():
            raise DataError(
                f"a case of the calib part has not exactly one class, but {type(task).__name__} takes one; use MultiLabel()"
            )
        if len(seen := np.flatnonzero((y == 1).any(axis=0))) == 1:
            raise DataError(f"every case of the calib part is {classes[seen[0]]}; split again so that calib has two classes")
    everyone, known = number_persons(groups), ~np.isnan(y).all(axis=1)
    return z[known], y[known], np.unique(everyone[known], return_inverse=True)[1], everyone
