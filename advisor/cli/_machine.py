"""The machine a command is about: this one, a saved profile, or a what-if from data sheets."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from advisor import store
from advisor.calibration.calibrate import calibrate, engine_key, engine_version, find_calibration
from advisor.cli._shared import Progress, keep, say
from advisor.codec import DocumentError
from advisor.errors import BadRequestError
from advisor.machine import Machine
from advisor.types import Calibration
from catalog.load import Catalog
from probes.types import HardwareProfile


def this_profile(*, quiet: bool = False) -> HardwareProfile:
    """This machine's newest profile; measured now if there is none."""
    return store.load_profile() or _measured(store.profile_path(), quiet)


@cache
def _measured(path: Path, quiet: bool) -> HardwareProfile:  # noqa: ARG001 - once for a path, kept there or not
    """A profile of this machine, measured now."""
    from probes.scan import scan

    say("no profile of this machine yet: measuring it (about 20 s)")
    with Progress("measuring this machine", quiet=quiet) as progress:
        profile = scan(on_progress=lambda label, done, count: progress.update(done / max(count, 1), label))
    keep("the profile", lambda: store.save_profile(profile))
    return profile


def this_calibration(profile: HardwareProfile, *, run: bool = True, quiet: bool = False) -> Calibration | None:
    """The saved calibration of this machine's engine; made now if there is none and ``run`` allows it."""
    found = find_calibration(profile.profile_id)
    if found is not None or not run or engine_key() is None:
        return found
    from advisor.engines.base import EngineError

    say("first use of this engine here: timing it on small synthetic models (under 45 s)")
    try:
        with Progress("calibrating llama.cpp", quiet=quiet) as progress:
            made = calibrate(profile, on_progress=progress.update)
    except (EngineError, DocumentError, OSError) as error:  # also a home that cannot be written to
        say(f"advisor: calibration failed, predictions are from data sheets: {error}")
        return None
    _remember(made)
    return made


def _remember(calibration: Calibration) -> None:
    from advisor.history import HistoryError, open_history

    try:
        with open_history() as past:
            past.record(calibration)
    except HistoryError as error:
        say(f"advisor: not added to the history: {error}")


def resolve_machine(
    catalog: Catalog,
    *,
    profile_file: str | None = None,
    hardware: str | None = None,
    backend: str | None = None,
    engine_id: str | None = None,
    no_calibrate: bool = False,
    quiet: bool = False,
) -> Machine:
    """The machine that the options name.

    Raises:
        BadRequestError: if both a profile and a what-if are named, or a name is unknown.
    """
    from advisor.engines.requirements import check_engine, platform_of, with_engine

    if engine_id is not None:
        check_engine(engine_id)
    machine, os_name = _machine(
        catalog, profile_file, hardware, backend, engine_id, no_calibrate=no_calibrate, quiet=quiet
    )
    if engine_id is not None:
        machine = with_engine(machine, engine_id, platform_of(machine, catalog, os_name=os_name))
    return with_experience(machine)


def with_experience(machine: Machine) -> Machine:
    """The machine with what earlier validations on it, with this engine build and these rates, taught."""
    from advisor.experience import learn
    from advisor.history import HistoryError, default_path, open_history

    if not default_path().exists():
        return machine
    try:
        with open_history() as past:
            records = past.validations(machine.profile_id, machine.engine_id)
    except HistoryError as error:
        say(f"advisor: earlier validations are not used: {error}")
        return machine
    version = engine_version() if machine.engine_id == "llama.cpp" else None
    ours = [record for record in records if version is None or record.engine.version == version]
    return replace(machine, experience=learn(ours, machine.provenance, machine.sigmas, machine.usual_threads_count))


def _machine(
    catalog: Catalog,
    profile_file: str | None,
    hardware: str | None,
    backend: str | None,
    engine_id: str | None,
    *,
    no_calibrate: bool,
    quiet: bool,
) -> tuple[Machine, str | None]:
    """The machine as llama.cpp uses it, and its operating system where it is known."""
    from advisor.engines.requirements import platform_of, with_engine
    from advisor.machines import from_hardware, from_profile

    if profile_file is not None and hardware is not None:
        raise BadRequestError("--profile and --hardware name two machines; give one of them")
    if hardware is not None:
        return from_hardware(catalog.hardware(hardware), catalog, backend=backend), None
    if profile_file is not None:
        from advisor import codec

        profile: HardwareProfile = codec.load(profile_file, kind="profile")
        calibration = find_calibration(profile.profile_id)
        return from_profile(profile, calibration, catalog, backend=backend), profile.host.os
    profile = this_profile(quiet=quiet)
    if engine_id is not None:  # an engine that cannot run here is said before anything is timed
        uncalibrated = from_profile(profile, None, catalog, backend=backend)
        with_engine(uncalibrated, engine_id, platform_of(uncalibrated, catalog, os_name=profile.host.os))
    calibration = this_calibration(profile, run=not no_calibrate, quiet=quiet)
    has_engine = engine_key() is not None
    machine = from_profile(profile, calibration, catalog, backend=backend, engine_available=has_engine)
    return machine, profile.host.os
