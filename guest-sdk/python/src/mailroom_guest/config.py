"""Values of ``[handler-config]`` that the manifest grants with ``grants.config``."""

from __future__ import annotations

from mailroom_guest import _data
from mailroom_guest._errors import ConfigError
from mailroom_guest._host import host

__all__ = ["ConfigError", "all", "get"]


def get(key: str) -> str:
    """Gives the value of a key. Raises :class:`ConfigError` where it is not granted, or has no value."""
    value = host.config_get(_data.text(key, "a configuration key"))
    if value is None:
        raise ConfigError(f"the configuration key {key} has no value")
    return value


def all() -> dict[str, str]:
    """Gives all values that are granted."""
    return host.config_all()
