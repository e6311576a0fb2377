"""Comparisons of two models against brute force, statsmodels, each other, and their own false-alarm rate."""

import shutil
import subprocess

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from resdx.errors import DataError
from resdx.metrics import classification as metrics
from resdx.metrics.auroc_variance import auroc_by_person, variance_between
from resdx.metrics.paired_tests import delong, holm, mcnemar, obuchowski, permutation


def models(seed, n=80, first=1.0, second=0.5):
    rng = np.random.default_rng(seed)
    truth, shared = rng.integers(0, 2, n), rng.normal(size=n)
    return truth, *(np.round(shared + rng.normal(size=n) + shift * truth, 1) for shift in (first, second))


def brute_force(truth, first, second):
    """Variance of the difference by DeLong's structural components."""
    components = []
    for score in (first, second):
        ours, theirs = score[truth == 1], score[truth == 0]
        wins = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
        components.append((wins.mean(1), wins.mean(0), wins.mean()))
    (a, b, one), (c, d, two) = components
    return one - two, np.var(a - c, ddof=1) / len(a) + np.var(b - d, ddof=1) / len(b)


@pytest.mark.parametrize("seed", range(8))
def test_delong_equals_the_structural_components(seed):
    truth, first, second = models(seed)
    gap, variance = brute_force(truth, first, second)
    found = delong(truth, first, second)
    assert found.difference.value == pytest.approx(gap)
    assert (found.difference.high - found.difference.low) / 2 / 1.959964 == pytest.approx(variance**0.5)


PROC = """
suppressMessages(library(pROC))
d <- read.csv(file("stdin"))
a <- roc(d$truth, d$first, levels = c(0, 1), direction = "<", quiet = TRUE)
b <- roc(d$truth, d$second, levels = c(0, 1), direction = "<", quiet = TRUE)
t <- roc.test(a, b, method = "delong", paired = TRUE)
cat(sprintf("%.10f\\n", c(auc(a), auc(b), var(a, method = "delong"), var(b, method = "delong"), t$statistic, t$p.value)))
"""


def tied_models():
    """Truth and two scores of 60 cases, with ties, by arithmetic alone."""
    k = np.arange(60)
    truth = (k % 3 == 0).astype(int)
    return truth, (k * 37 % 101 + 40 * truth) // 10, (k * 53 % 97 + 20 * truth) / 10


def our_figures(truth, first, second):
    """Both AUROC, their variances, z and p, in the order of PROC."""
    areas, variances = [], []
    for score in (first, second):
        area, ours, theirs = auroc_by_person(truth, score, np.arange(len(truth)))
        areas.append(area)
        variances.append(variance_between(truth, np.arange(len(truth)), ours, theirs)[0])
    found = delong(truth, first, second)
    error = (found.difference.high - found.difference.low) / 2 / 1.959963985
    return [*areas, *variances, found.difference.value / error, found.p]


def test_areas_variances_and_delong_are_those_that_proc_gave():
    # pROC 1.18.0: Rscript -e "$PROC" < films.csv, a table of truth, first and second of tied_models()
    expected = [0.8200000000, 0.6900000000, 0.0030604588, 0.0052435855, 1.5412153992, 0.1232643709]
    assert our_figures(*tied_models()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_areas_variances_and_delong_are_those_of_proc(seed):
    if not shutil.which("Rscript"):
        pytest.skip("R is not installed; install r-cran-proc")
    cases = models(seed)
    table = "\n".join(["truth,first,second", *(",".join(map(str, row)) for row in zip(*cases, strict=True))])
    said = subprocess.run(["Rscript", "-e", PROC], input=table, capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip(f"R has no pROC; install r-cran-proc ({said.stderr[-80:]})")
    assert our_figures(*cases) == pytest.approx([float(line) for line in said.stdout.split()], abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_clustered_form_is_delong_where_each_person_has_one_case(seed):
    plain, clustered = delong(*models(seed)), obuchowski(*models(seed))
    assert clustered.difference.value == plain.difference.value
    assert clustered.p == pytest.approx(plain.p, abs=0.02)  # t instead of normal
    assert clustered.difference.high >= plain.difference.high


def test_copies_of_every_image_add_nothing_to_the_clustered_form():
    truth, first, second = models(3)
    copied = obuchowski(*(np.repeat(part, 5) for part in (truth, first, second)), np.repeat(np.arange(len(truth)), 5))
    assert copied.p == pytest.approx(obuchowski(truth, first, second).p)


@pytest.mark.parametrize("seed", range(8))
def test_mcnemar_equals_statsmodels(seed):
    truth, first, second = models(seed)
    first, second = first > 0.5, second > 0.5
    ours, theirs = first == truth, second == truth
    table = [[np.sum(a & b) for b in (theirs, ~theirs)] for a in (ours, ~ours)]
    exact = mcnemar(truth, first, second, exact=True)
    assert exact.p == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert mcnemar(truth, first, second).p <= exact.p
    assert exact.difference.low <= exact.difference.value <= exact.difference.high


def test_mid_p_by_hand():
    # the first model alone is right 5 times, the second once: 2 (C(6,0) + C(6,1)) / 64 - C(6,1) / 64
    truth = np.ones(20, int)
    first, second = truth.copy(), truth.copy()
    second[:5] = 0
    first[5] = 0
    assert mcnemar(truth, first, second).p == pytest.approx((2 * 7 - 6) / 64)
    assert mcnemar(truth, first, first).p == 1


def test_the_plain_forms_refuse_clustered_data():
    truth, first, second = models(0, n=4)
    with pytest.raises(DataError, match="delong takes one case a person, but 1 persons have several; use obuchowski"):
        delong(truth, first, second, ["a", "a", "b", "c"])
    with pytest.raises(DataError, match="use permutation"):
        mcnemar(truth, first, second, ["a", "a", "b", "c"])


def test_a_permutation_finds_what_delong_finds():
    truth, first, second = models(1, n=120)
    assert permutation(metrics.auroc, truth, first, second).p == pytest.approx(delong(truth, first, second).p, abs=0.05)


def test_a_permutation_of_ranks_ignores_the_scale_of_scores():
    truth, first, second = models(2)
    assert permutation(metrics.auroc, truth, first, second).p == permutation(metrics.auroc, truth, 9 * first, second).p


def test_equal_models_do_not_differ():
    truth, first, _ = models(4)
    assert permutation(metrics.auroc, truth, first, first, permutations=50).p == 1
    assert delong(truth, first, first).p == obuchowski(truth, first, first).p == 1


@pytest.mark.parametrize("seed", range(3))
def test_exchanging_the_models_turns_the_sign(seed):
    truth, first, second = models(seed)
    forth, back = delong(truth, first, second), delong(truth, second, first)
    assert forth.difference.value == pytest.approx(-back.difference.value) and forth.p == pytest.approx(back.p)
    assert forth.difference.low == pytest.approx(-back.difference.high)


def test_the_clustered_form_keeps_its_false_alarms_at_the_level():
    """300 simulations without a difference; 5 % wanted, above 9 % is no accident. Images as persons would be far above."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(30), 4)
    alarms = 0
    for _ in range(300):
        truth = person % 2
        scores = [rng.normal(size=30)[person] + 0.3 * rng.normal(size=120) + truth for _ in range(2)]
        alarms += obuchowski(truth, *scores, person).p < 0.05
    assert alarms <= 27


def test_few_persons_get_a_sentence():
    truth, first, second = models(0, n=12)
    assert "at least 10 are needed" in obuchowski(truth, first, second).difference.note


def test_one_class_alone_cannot_be_compared():
    with pytest.raises(DataError, match="both classes"):
        delong(np.ones(30, int), np.arange(30.0), np.arange(30.0))
    with pytest.raises(DataError, match="identical cases"):
        delong(np.ones(3, int), np.arange(30.0), np.arange(30.0))


def test_holm_equals_statsmodels():
    p_values = {"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.8}
    expected = multipletests(list(p_values.values()), method="holm")[1]
    assert list(holm(p_values).values()) == pytest.approx(expected)
    assert list(holm(p_values)) == list(p_values) and holm({}) == {}
