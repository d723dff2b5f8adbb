"""Several documents of one kind side by side: before and after, or one machine beside another."""

from collections.abc import Sequence

from advisor.types import Accuracy, Choice, Recommendation, Validation, ValidationStatus
from probes.types import HardwareProfile, Measurement
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Grid, Section
from reports.charts.machines import recommendation_names
from reports.text import plain

_MODELS_SHOWN = 25


def sections(documents: Sequence[object]) -> tuple[Section, ...]:
    """A comparison for each kind of which there are at least two."""
    made = (
        _recommendations([d for d in documents if isinstance(d, Recommendation)]),
        _profiles([d for d in documents if isinstance(d, HardwareProfile)]),
        _validations([d for d in documents if isinstance(d, Validation)]),
        _accuracies([d for d in documents if isinstance(d, Accuracy)]),
    )
    return tuple(section for section in made if section is not None)


def _section(section_id: str, title: str, grid: Grid, lead: str = "") -> Section:
    return Section(section_id=section_id, title=title, nav="Compare", lead=lead, blocks=(grid,))


def _dated(names: Sequence[str], stamps: Sequence[str]) -> tuple[str, ...]:
    """Names, with the date where the same one appears twice."""
    return tuple(
        f"{name}, {fmt.clock(stamp)}" if names.count(name) > 1 else name
        for name, stamp in zip(names, stamps, strict=True)
    )


def _change(values: Sequence[float | None]) -> str:
    first, last = values[0], values[-1]
    return fmt.change(last / first - 1.0) if first and last else fmt.UNKNOWN


def _recommendations(found: Sequence[Recommendation]) -> Section | None:
    if len(found) < 2:
        return None
    names = recommendation_names(found)
    by_model = [{choice.estimate.model_id: choice for choice in document.ranked} for document in found]
    models = list(dict.fromkeys(model for choices in by_model for model in choices))
    best_rank = {model: min(choices[model].rank for choices in by_model if model in choices) for model in models}
    rows = []
    for model in sorted(models, key=lambda model: (best_rank[model], model))[:_MODELS_SHOWN]:
        choices = [found_choices.get(model) for found_choices in by_model]
        name = next(phrases.choice_name(choice) for choice in choices if choice is not None)
        cells = [fmt.UNKNOWN if choice is None else _pick_words(choice) for choice in choices]
        rows.append((name, *cells))
    grid = Grid(caption="Rank, quant and speed of each model", headers=("Model", *names), rows=tuple(rows))
    return _section("compare-picks", "The picks side by side", grid, "A dash: not ranked there.")


def _pick_words(choice: Choice) -> str:
    estimate = choice.estimate
    return f"rank {choice.rank}, {plain(estimate.quant_id)}, {fmt.rate(estimate.decode_tokens_per_s.mid)}"


def _profiles(found: Sequence[HardwareProfile]) -> Section | None:
    if len(found) < 2:
        return None
    names = _dated([phrases.machine_name(p) for p in found], [p.created_at for p in found])
    columns = [_measurements(profile) for profile in found]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = []
    for key in keys:
        cells = [column.get(key) for column in columns]
        values = [cell.value if cell else None for cell in cells]
        shown = (phrases.measured(cell) if cell else fmt.UNKNOWN for cell in cells)
        rows.append((key, *shown, *([_change(values)] if len(found) == 2 else [])))
    headers = ("Measured", *names, *(["Change"] if len(found) == 2 else []))
    numeric = frozenset(range(1, len(headers)))
    grid = Grid(caption="Measurements of each machine", headers=headers, rows=tuple(rows), numeric=numeric)
    return _section("compare-machines", "The machines side by side", grid)


def _measurements(profile: HardwareProfile) -> dict[str, Measurement]:
    found = {}
    for outcome in profile.outcomes:
        if outcome.measurement is not None:
            name = wording.probe(outcome.probe_id, outcome.measurement.dtype)
            found[f"{name} ({plain(outcome.device_id)})"] = outcome.measurement
    return found


def _validations(found: Sequence[Validation]) -> Section | None:
    if len(found) < 2:
        return None
    names = _dated([plain(v.hardware or "run") for v in found], [v.created_at for v in found])
    columns = [
        {
            phrases.estimate_name(record.estimate): record.observed.decode_tokens_per_s
            for record in validation.records
            if record.status == ValidationStatus.OK
        }
        for validation in found
    ]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = tuple(
        (key, *(fmt.number(column.get(key)) for column in columns), _change([column.get(key) for column in columns]))
        for key in keys
    )
    headers = ("Model", *names, "Change, first to last")
    numeric = frozenset(range(1, len(headers)))
    grid = Grid(caption="Measured generation speed, tok/s", headers=headers, rows=rows, numeric=numeric)
    return _section("compare-measured", "Measured, before and after", grid)


def _accuracies(found: Sequence[Accuracy]) -> Section | None:
    if len(found) < 2:
        return None
    names = _dated(["accuracy"] * len(found), [a.created_at for a in found])
    columns = [{(line.group, line.phase): line.median_ape for line in accuracy.summary} for accuracy in found]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = tuple(
        (f"{plain(group)}, {plain(phase)}", *(fmt.percent(column.get((group, phase))) for column in columns))
        for group, phase in keys
    )
    headers = ("Group", *names)
    numeric = frozenset(range(1, len(headers)))
    grid = Grid(caption="Median error by group", headers=headers, rows=rows, numeric=numeric)
    return _section("compare-accuracy", "Accuracy, before and after", grid)
