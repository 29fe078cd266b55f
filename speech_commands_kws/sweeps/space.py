"""What a sweep searches, as hydra-optuna-sweeper writes it: `interval(…)`, `choice(…)`, `range(…)`, lists of values.

The sweeper's plugin is imported where it is used: Hydra loads our sweeper, which needs this, with every command.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from speech_commands_kws.errors import KwsError


class SearchSpace(NamedTuple):
    """Distributions of what is searched, values of what is fixed, overrides that take something away."""

    searched: dict[str, Any]
    fixed: dict[str, Any]
    deleted: list[str]


def read_space(overrides: Iterable[str]) -> SearchSpace:
    """The space that overrides describe; a later one counts more.

    Raises:
        KwsError: nothing can be drawn from one of them, or nothing is searched.
    """
    from hydra.errors import HydraException
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    space = SearchSpace({}, {}, [])
    for override in overrides:
        try:
            searched, fixed, deleted = create_params_from_overrides([override])
        except (ValueError, AssertionError, NotImplementedError, HydraException) as error:
            reason = " ".join(str(error).split())
            raise KwsError(f"nothing can be drawn from {override}: {reason}") from error
        space.searched.update(searched)
        space.fixed.update(fixed)
        space.deleted.extend(deleted)
    for key in space.searched.keys() & space.fixed.keys():
        del space.searched[key]
    if not space.searched:
        raise KwsError(
            "expected something to search, got no parameter with several values; add one such as "
            "'optimizer.lr=tag(log,interval(0.01,0.5))'"
        )
    return space


def grid(searched: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every point of a space of choices and steps, the last parameter changing fastest."""
    from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl

    try:
        choices = [OptunaSweeperImpl._to_grid_sampler_choices(each) for each in searched.values()]
    except ValueError:
        raise KwsError(
            "expected lists of values for a grid, got an interval; give values, as in "
            "optimizer.lr=0.03,0.1, or another sampler: hydra/sweeper/sampler=tpe"
        ) from None
    return [dict(zip(searched, point, strict=True)) for point in itertools.product(*choices)]
