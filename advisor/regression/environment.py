"""What two runs were taken on and with: whether they may be compared, and what changed between them. Pure."""

from dataclasses import fields

from advisor.types import EnvironmentChange, Run, RunCase, RunEnvironment


def environment_changes(baseline: RunEnvironment, current: RunEnvironment) -> tuple[EnvironmentChange, ...]:
    """What differs between two environments, as the suspects of a regression."""
    changes = []
    for field in fields(RunEnvironment):
        before, after = getattr(baseline, field.name), getattr(current, field.name)
        if before != after and field.name not in ("engine", "drivers"):
            changes.append((field.name, before, after))
    old, new = baseline.engine, current.engine
    changes += [(f"engine {part}", getattr(old, part, None), getattr(new, part, None)) for part in ("version", "build")]
    devices = dict.fromkeys((*baseline.drivers, *current.drivers))
    changes += [(f"driver of {d}", baseline.drivers.get(d), current.drivers.get(d)) for d in devices]
    return tuple(
        EnvironmentChange(name=name, baseline=_text(before), current=_text(after))
        for name, before, after in changes
        if before != after
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def differences(baseline: Run, current: Run) -> dict[str, str]:
    """Why two runs should not be compared, by what ``--allow`` calls it."""
    found = {}
    if baseline.environment.machine_id != current.environment.machine_id:
        found["machine"] = f"{baseline.environment.hardware} against {current.environment.hardware}"
    if baseline.suite_id != current.suite_id:
        found["suite"] = f"suite {baseline.suite_name!r} was changed, or is another"
    engines = [run.environment.engine.id if run.environment.engine else None for run in (baseline, current)]
    if engines[0] != engines[1]:
        found["engine"] = f"{engines[0]} against {engines[1]}"
    return found


def keeps_all_cores_busy(case: RunCase, environment: RunEnvironment) -> bool:
    """Whether a case computes on every core of the processor that it may use."""
    deployment = case.deployment
    if deployment is None or deployment.backend != "cpu":
        return False
    threads, usable = deployment.threads_count, environment.usable_threads_count
    return threads is None or (usable is not None and threads >= usable)


def like(first: Run, second: Run) -> bool:
    """Whether two runs should agree: same suite, machine and software, so that a difference is noise."""
    return not differences(first, second) and not environment_changes(first.environment, second.environment)
