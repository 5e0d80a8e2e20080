"""Packages whose names are imported when they are first used, so that a plan does not wait for torch."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def without_suite(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The same error; of a package that the core does not need, it says how to install that."""
    package = (error.name or "").partition(".")[0]
    if package in ("gbnlib", "torch", ""):
        return error
    message = f"{package} is not installed: this part of gbnlib needs its extra, pip install 'gbnlib[suite]'"
    return ModuleNotFoundError(message, name=error.name)


def names_of(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the `__getattr__` and the `__dir__` of a package from its names and the modules that they are in."""
    module = sys.modules[package]

    def get(name: str) -> Any:
        """Import a public name from its home on first use."""
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            raise without_suite(error) from error
        setattr(module, name, value)
        return value

    def names() -> list[str]:
        """List the lazy names too, so that completion finds them."""
        return sorted({*vars(module), *homes})

    return get, names
