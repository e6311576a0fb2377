"""Results come in the order of the items, whoever works on them."""

import os
import threading

import joblib
import pytest

from resdx.transforms.parallel import in_order


def square(number):
    return number * number


def process(_):
    return os.getpid()


def thread(_):
    return threading.get_ident()


def refuse(number):
    raise ValueError(f"not {number}")


@pytest.mark.parametrize("workers", [-1, 1, 2])
def test_results_keep_the_order_of_the_items(workers):
    assert list(in_order(square, range(7), workers=workers)) == [0, 1, 4, 9, 16, 25, 36]
    assert list(in_order(square, [], workers=workers)) == []


def test_one_worker_is_this_process_and_two_are_others():
    assert set(in_order(process, range(4), workers=1)) == {os.getpid()}
    assert os.getpid() not in set(in_order(process, range(4), workers=2))


def test_a_configuration_around_it_says_who_works():
    with joblib.parallel_config(backend="threading"):
        assert threading.get_ident() not in set(in_order(thread, range(4), workers=2))
        assert set(in_order(process, range(4), workers=2)) == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_the_work_are_raised(workers):
    with pytest.raises(ValueError, match="not 3"):
        list(in_order(refuse, [3], workers=workers))
