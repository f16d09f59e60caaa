"""Calls ahead of their use: in order, bounded, within torch's threads, ended with their user."""

import signal
import threading
import time
from itertools import count

import pytest
import torch

from vqcodec.engine.scheduling import Ahead
from vqcodec.engine.torch import runtime

MANY = 200


@pytest.fixture(autouse=True)
def _same_threads():
    """Four threads of torch, and none left of ours."""
    before = threading.active_count()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(1)
    assert threading.active_count() == before


def backwards(number: int) -> int:
    """Later ones are done sooner."""
    time.sleep(0.02 * (5 - number))
    return number


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_results_come_in_order(most):
    with Ahead(most) as calls:
        assert list(calls.map(backwards, range(6))) == list(range(6))
        assert list(calls.map(backwards, [])) == []


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_first_error_comes_behind_the_results_before_it(most):
    def work(number: int) -> int:
        if number in (2, 3):
            time.sleep(0.05 * (3 - number))  # the second one is first to fail
            raise ValueError(number)
        return number

    found = []
    with Ahead(most) as calls, pytest.raises(ValueError, match="2"):
        found.extend(calls.map(work, range(9)))

    assert found == [0, 1]


@pytest.mark.parametrize("most", [1, 2])
def test_an_error_of_the_items_comes_behind_the_results_before_it(most):
    def items():
        yield from range(2)
        raise ValueError("no more")

    found = []
    with Ahead(most) as calls, pytest.raises(ValueError, match="no more"):
        found.extend(calls.map(backwards, items()))

    assert found == [0, 1]


@pytest.mark.parametrize(("most", "depth", "expected"), [(2, None, 3), (3, 5, 5), (1, 5, 1)])
def test_only_so_many_items_are_taken_ahead(most, depth, expected):
    taken = []

    def items():
        for number in count():
            taken.append(number)
            yield number

    with Ahead(most) as calls:
        results = calls.map(abs, items(), depth)
        assert taken == []
        for done in range(3):
            assert next(results) == done
            assert len(taken) == expected + done


@pytest.mark.parametrize(("most", "each"), [(1, 4), (2, 2), (3, 1), (4, 1), (9, 1)])
def test_the_threads_of_torch_are_divided(codec, most, each):
    with codec.engine.ahead(most) as calls:
        shares = set(calls.map(lambda _: torch.get_num_threads(), range(5)))
        inside = torch.get_num_threads(), shares_of_a_new_thread()

    assert calls.count == min(most, 4)
    assert shares == {each}
    assert inside == (4, 4)
    assert torch.get_num_threads() == shares_of_a_new_thread() == 4


def shares_of_a_new_thread() -> int:
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_a_gpu_has_one_call_at_a_time():
    assert runtime.share_of_threads(4, torch.device("cuda")) == 1


def test_the_user_of_the_results_counts_as_one_that_works():
    lock, busy, most = threading.Lock(), [0], [0]

    def step(by: int) -> None:
        with lock:
            busy[0] += by
            most[0] = max(most[0], busy[0])

    def work(number: int) -> None:
        step(1)
        time.sleep(0.02)
        step(-1)

    with Ahead(2) as calls:
        for _ in calls.map(work, range(8), 4):
            step(1)
            time.sleep(0.03)
            step(-1)

    assert most[0] == 2


def test_the_user_of_a_result_goes_before_calls_that_have_not_begun():
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.02 if number == 0 else 0.1)

    with Ahead(2) as calls:
        results = calls.map(work, range(9), 9)
        next(results)
        assert sorted(begun) == [0, 1]
        time.sleep(0.15)
        assert sorted(begun) == [0, 1, 2]  # one beside the user


def test_leaving_waits_for_the_calls_under_way_alone():
    begun, ended = [], []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.1 * number)
        ended.append(number)

    with Ahead(2) as calls:
        next(calls.map(work, range(9), 9))

    assert begun == ended == [0, 1]


def test_an_interrupt_ends_all():
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt), Ahead(2) as calls:
        list(calls.map(work, range(MANY), MANY))

    assert len(begun) <= 4


def test_a_system_without_threads_left_raises_and_leaves_none(monkeypatch):
    start, allowed = threading.Thread.start, iter([True])

    def limited(thread: threading.Thread) -> None:
        if not next(allowed, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="start new thread"), Ahead(3):
        pytest.fail("it began")
