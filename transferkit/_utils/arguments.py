"""Misspelled keyword arguments: an error with the argument that was probably meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from transferkit._utils.checks import did_you_mean

Target = TypeVar("Target", bound=Callable[..., Any])


def suggests_arguments(target: Target) -> Target:
    """Decorate a function, or a class with its methods: an unknown keyword argument raises a TypeError.

    So does an argument that is given by position and must be given by name.

    >>> @suggests_arguments
    ... def crop(size=1): pass
    >>> crop(sise=2)
    Traceback (most recent call last):
    TypeError: `sise` must be an argument of crop(...). Received: sise=2. Did you mean 'size'?
    """
    if not isinstance(target, type):
        return _checked(target, target.__name__)  # type: ignore[return-value]
    for name, member in list(vars(target).items()):
        if name != "__init__" and name.startswith("_"):
            continue
        shown = target.__name__ if name == "__init__" else f"{target.__name__}.{name}"
        if inspect.isfunction(member):
            setattr(target, name, _checked(member, shown))
        elif isinstance(member, classmethod):
            setattr(target, name, classmethod(_checked(member.__func__, shown)))
    return target


def check_keywords(name: str, given: Mapping[str, Any], accepted: Collection[str]) -> None:
    """Raise a TypeError when one of the keyword arguments that are `given` to `name` is not `accepted`."""
    for key, value in given.items():
        if key not in accepted:
            hint = did_you_mean(key, accepted) or f"The arguments are {', '.join(accepted)}."
            raise TypeError(f"`{key}` must be an argument of {name}(...). Received: {key}={value!r:.60}. {hint}")


def _checked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    parameters = inspect.signature(function).parameters.values()
    kinds = {parameter.kind for parameter in parameters}
    accepted = [parameter.name for parameter in parameters if parameter.name not in ("self", "cls")]
    by_name = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    positions = len(parameters) - len(by_name) - (inspect.Parameter.VAR_KEYWORD in kinds)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            check_keywords(name, kwargs, accepted)
        if by_name and len(args) > positions and inspect.Parameter.VAR_POSITIONAL not in kinds:
            raise TypeError(
                f"{', '.join(by_name)} must be given to {name}(...) by name. Received: {args[positions]!r:.60} by "
                f"position. Write, for example, {by_name[0]}=..."
            )
        return function(*args, **kwargs)

    return call
