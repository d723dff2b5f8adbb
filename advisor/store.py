"""Where the user's documents live: the newest profile, the last recommendation, calibrations.

``ADVISOR_HOME`` overrides the platform's user data directory.
"""

import os
from pathlib import Path

from advisor import codec
from advisor.types import Calibration, Recommendation
from catalog.header_cache import HeaderCache
from probes.types import HardwareProfile

_ADVICE = "set ADVISOR_HOME to a folder of yours"


def data_dir() -> Path:
    """The directory for everything the tool remembers."""
    override = os.environ.get("ADVISOR_HOME")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_data_dir("model-fit-advisor", appauthor=False))


def cache_dir() -> Path:
    """The directory for things that can be made again: twins, downloads."""
    override = os.environ.get("ADVISOR_HOME")
    if override:
        return Path(override) / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("model-fit-advisor", appauthor=False))


def header_cache() -> HeaderCache:
    """Where the headers of local model files are kept once they were read."""
    return HeaderCache(cache_dir() / "headers")


def profile_path() -> Path:
    """The newest profile of this machine."""
    return data_dir() / "profile.json"


def save_profile(profile: HardwareProfile) -> Path:
    """Keep a profile as the newest; the previous one survives any interruption."""
    codec.save(profile, profile_path(), advice=_ADVICE)
    return profile_path()


def load_profile() -> HardwareProfile | None:
    """The newest profile, or None if this machine was never scanned.

    Raises:
        codec.DocumentError: if the stored file is damaged or from a newer version.
    """
    path = profile_path()
    if not path.exists():
        return None
    profile: HardwareProfile = codec.load(path, kind="profile")
    return profile


def recommendation_path() -> Path:
    """The last recommendation made here."""
    return data_dir() / "recommendation.json"


def save_recommendation(recommendation: Recommendation) -> None:
    """Keep a recommendation so that ``export`` and ``validate`` can refer to its ranks."""
    codec.save(recommendation, recommendation_path(), advice=_ADVICE)


def load_recommendation() -> Recommendation | None:
    """The last recommendation, or None if there was none yet."""
    path = recommendation_path()
    if not path.exists():
        return None
    recommendation: Recommendation = codec.load(path, kind="recommendation")
    return recommendation


def _calibration_path(profile_id: str, engine_key: str) -> Path:
    return data_dir() / "calibrations" / f"{codec.slug(profile_id)}-{codec.slug(engine_key)}.json"


def save_calibration(calibration: Calibration, engine_key: str) -> Path:
    """Keep a calibration under its machine, engine build and thread count."""
    path = _calibration_path(calibration.profile_id, engine_key)
    codec.save(calibration, path, advice=_ADVICE)
    return path


def load_calibration(profile_id: str, engine_key: str) -> Calibration | None:
    """The calibration of this machine and engine, or None. A damaged file counts as none: it can be made again."""
    path = _calibration_path(profile_id, engine_key)
    if not path.exists():
        return None
    try:
        calibration: Calibration = codec.load(path, kind="calibration")
    except codec.DocumentError:
        return None
    return calibration
