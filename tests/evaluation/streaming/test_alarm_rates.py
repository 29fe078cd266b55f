from math import exp, factorial

import pytest

from speech_commands_kws.evaluation.streaming.alarm_rates import (
    alarm_facts,
    poisson_interval,
    poisson_limit,
)


def at_most(count: int, mean: float) -> float:
    """Probability of so many events of a Poisson distribution."""
    return sum(exp(-mean) * mean**k / factorial(k) for k in range(count + 1))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 40])
def test_limits_leave_what_is_doubtful(count: int) -> None:
    assert at_most(count, poisson_limit(count)) == pytest.approx(0.05)
    low, high = poisson_interval(count)
    assert at_most(count, high) == pytest.approx(0.025)
    assert low == 0 if count == 0 else 1 - at_most(count - 1, low) == pytest.approx(0.025)


@pytest.mark.parametrize(("alarms", "hours"), [(0, 6.0), (1, 9.5), (2, 12.6), (5, 21.0)])
def test_hours_that_are_needed_to_claim_a_rate_of_one_half(alarms: int, hours: float) -> None:
    assert alarm_facts(alarms, hours * 3600)["limit_95"] == pytest.approx(0.5, abs=0.002)


def test_facts_are_of_an_hour() -> None:
    facts = alarm_facts(3, 7200.0, said=4)
    assert facts["per_hour"] == 1.5 and facts["hours"] == 2 and facts["said_or_alike"] == 4
    assert facts["interval_95"] == pytest.approx([0.619 / 2, 8.767 / 2], abs=1e-3)
    facts = alarm_facts(0, 1800.0)
    assert facts["per_hour"] == 0 and facts["limit_95"] == pytest.approx(5.991, abs=1e-3)


def test_of_no_sound_nothing_is_said() -> None:
    assert alarm_facts(0, 0) == {
        "alarms": 0,
        "said_or_alike": 0,
        "hours": 0,
        "per_hour": None,
        "limit_95": None,
        "interval_95": None,
    }
