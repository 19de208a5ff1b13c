"""Misspelled keyword arguments: an error with the argument that was probably meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from transferkit._utils.checks import did_you_mean

Target = TypeVar("Target", bound=Callable[..., Any])


def suggests_arguments(target: Target) -> Target:
    """Decorate a function, or a class with its methods: an unknown keyword argument raises a TypeError.

    >>> @suggests_arguments
    ... def crop(size=1): pass
    >>> crop(sise=2)
    Traceback (most recent call last):
    TypeError: `sise` must be an argument of crop(...). Received: sise=2. Did you mean 'size'?
    """
    if not isinstance(target, type):
        return _checked(target, target.__name__)  # type: ignore[return-value]
    for name, member in list(vars(target).items()):
        if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
            shown = target.__name__ if name == "__init__" else f"{target.__name__}.{name}"
            setattr(target, name, _checked(member, shown))
    return target


def _checked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    signature = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values()):
        return function
    parameters = [parameter for parameter in signature if parameter != "self"]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for key, value in kwargs.items():
            if key not in parameters:
                hint = did_you_mean(key, parameters) or f"The arguments are {', '.join(parameters)}."
                raise TypeError(f"`{key}` must be an argument of {name}(...). Received: {key}={value!r:.60}. {hint}")
        return function(*args, **kwargs)

    return call
