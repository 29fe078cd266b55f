"""False alarms an hour, and how sure one can be of them: exact intervals of a Poisson rate (Garwood 1936)."""

from typing import Any

from scipy.special import chdtri

from speech_commands_kws.inference.model_info import SECONDS_PER_HOUR

DOUBT = 0.05


def poisson_limit(count: int, doubt: float = DOUBT) -> float:
    """The mean number of events below which `count` or fewer would come with a probability above `doubt`: one-sided."""
    return float(chdtri(2 * count + 2, doubt)) / 2


def poisson_interval(count: int, doubt: float = DOUBT) -> tuple[float, float]:
    """The two-sided interval of the mean number of events."""
    lower = float(chdtri(2 * count, 1 - doubt / 2)) / 2 if count else 0.0
    return lower, poisson_limit(count, doubt / 2)


def alarm_facts(alarms: int, seconds: float, said: int = 0) -> dict[str, Any]:
    """False alarms an hour with the 95 % interval and the one-sided limit; None where nothing was heard.

    Args:
        said: events that are no false alarms, since the keyword was said, or a word that sounds the same.
    """
    hours = seconds / SECONDS_PER_HOUR
    low, high = poisson_interval(alarms)
    rates = {"per_hour": alarms, "limit_95": poisson_limit(alarms)}
    return {
        "alarms": alarms,
        "said_or_alike": said,
        "hours": hours,
        **{name: value / hours if hours else None for name, value in rates.items()},
        "interval_95": [low / hours, high / hours] if hours else None,
    }
