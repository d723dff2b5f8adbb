"""The wall clock, kept at the rim so that pure code never reads it."""

from datetime import UTC, datetime


def utc_now() -> str:
    """The time as documents store it: UTC, whole seconds, ending in Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
