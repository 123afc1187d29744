"""A new config is checked in a thread while calls are answered; neither may see the other's customer."""

import sys
import threading

import pytest

from nba.errors import RuleError
from nba.rules import Rule


@pytest.fixture
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_two_threads_evaluate_rules_without_seeing_each_others_values(frequent_switches):
    """Each thread's rule reads the values that this thread gave, at every evaluation."""
    wrong = []

    def evaluate(value: float) -> None:
        rule = Rule("features.a + features.b == 2.0 * features.c")
        for _ in range(5_000):
            try:
                if not rule.truth({"features__a": value, "features__b": value, "features__c": value}):
                    wrong.append(value)
            except RuleError as error:
                wrong.append(error)

    threads = [threading.Thread(target=evaluate, args=(value,)) for value in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
