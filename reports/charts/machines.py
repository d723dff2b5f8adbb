"""Machines side by side: what each measured, and what each makes of the same models."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import Fleet, Recommendation
from probes.types import HardwareProfile
from reports import boxes, phrases
from reports import format as fmt
from reports.blocks import Grid
from reports.charts.axes import LABEL_LIMIT, legend, log_axis
from reports.charts.base import Chart
from reports.charts.roofline import roofs
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MODELS_SHOWN = 10
_NAME_LIMIT = 34
_MARKERS = "osD^vPX"
_OWN_PICKS = "Generation speed as each machine's own pick of quant and settings runs it."

#: per machine: name, bytes per second, flop per second of its fastest device
_Measured = tuple[str, float, float]
#: model, then the decode speed on each machine or None
_Speeds = tuple[str, tuple[float | None, ...]]


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """Charts for two or more profiles, and for two or more recommendations."""
    charts: list[Chart] = []
    profiles = [document for document in documents if isinstance(document, HardwareProfile)]
    measured = [found for profile in profiles if (found := _measured(profile)) is not None]
    if len(measured) > 1:
        charts.append(_measured_chart(measured))
    recommendations = [document for document in documents if isinstance(document, Recommendation)]
    if len(recommendations) > 1:
        speeds = _speeds(recommendations)
        if speeds:
            charts.append(_speeds_chart(recommendation_names(recommendations), speeds))
    return tuple(charts)


def of_fleet(fleet: Fleet) -> tuple[Chart, ...]:
    """The nodes of a fleet by what their scans measured, and by what they make of the same cases."""
    charts: list[Chart] = []
    measured = [found for node in fleet.nodes if node.profile and (found := _measured(node.profile, plain(node.name)))]
    if len(measured) > 1:
        charts.append(_measured_chart(measured))
    nodes = [node for node in fleet.nodes if node.run is not None]
    speeds = tuple(
        (plain(case), tuple(found.get(node.node_id) for node in nodes)) for case, found in boxes.speeds(fleet).items()
    )
    if len(nodes) > 1 and speeds:
        caption = "Generation speed of each case, the same file and settings on every node."
        charts.append(_speeds_chart(tuple(plain(node.name) for node in nodes), speeds[:_MODELS_SHOWN], caption))
    return tuple(charts)


def recommendation_names(recommendations: Sequence[Recommendation]) -> tuple[str, ...]:
    """Hardware names; with their date where two are of one machine."""
    names = [plain(recommendation.hardware) for recommendation in recommendations]
    return tuple(
        f"{name}, {fmt.clock(recommendation.created_at)}" if names.count(name) > 1 else name
        for name, recommendation in zip(names, recommendations, strict=True)
    )


def _measured(profile: HardwareProfile, name: str | None = None) -> _Measured | None:
    found = roofs(profile)
    if not found:
        return None
    fastest = max(found, key=lambda roof: roof.bytes_per_s)
    return name or phrases.machine_name(profile), fastest.bytes_per_s, fastest.flop_per_s[0][1]


def _measured_chart(measured: Sequence[_Measured]) -> Chart:
    rows = tuple((name, fmt.bandwidth(rate), fmt.compute(flop)) for name, rate, flop in measured)
    best = max(measured, key=lambda machine: machine[1])
    return Chart(
        chart_id="machines-measured",
        title="Machines: bandwidth and arithmetic",
        caption="Right generates faster, up reads prompts faster.",
        description=f"{len(measured)} machines by memory bandwidth and peak arithmetic. {best[0]} has most bandwidth, "
        f"{fmt.bandwidth(best[1])}.",
        table=Grid(
            caption="Measured per machine",
            headers=("Machine", "Read bandwidth", "Peak arithmetic"),
            rows=rows,
            numeric=frozenset({1, 2}),
        ),
        draw=partial(_draw_measured, tuple(measured)),
    )


def _draw_measured(measured: tuple[_Measured, ...], axes: "Axes", theme: Theme) -> None:
    log_axis(axes, "x", [rate / 1e9 for _, rate, _ in measured], pad=2.0)
    log_axis(axes, "y", [flop / 1e12 for _, _, flop in measured], pad=2.0)
    for (name, rate, flop), color, marker in zip(measured, theme.series * 3, _MARKERS * 3, strict=False):
        axes.plot(
            rate / 1e9,
            flop / 1e12,
            ls="none",
            marker=marker,
            markersize=9,
            color=color,
            label=shortened(name, _NAME_LIMIT),
        )
    axes.set_xlabel("Memory read bandwidth (GB/s)")
    axes.set_ylabel("Peak arithmetic (TFLOP/s)")
    legend(axes, columns_count=1)


def _speeds(recommendations: Sequence[Recommendation]) -> tuple[_Speeds, ...]:
    by_machine = [
        {choice.estimate.model_id: choice.estimate.decode_tokens_per_s.mid for choice in recommendation.ranked}
        for recommendation in recommendations
    ]
    names = {
        choice.estimate.model_id: phrases.choice_name(choice)
        for recommendation in reversed(recommendations)
        for choice in reversed(recommendation.ranked)
    }
    shared = [model for model in names if sum(model in speeds for speeds in by_machine) > 1]
    order = {choice.estimate.model_id: choice.rank for choice in recommendations[0].ranked}
    shared.sort(key=lambda model: order.get(model, len(order) + 1))
    return tuple((names[model], tuple(speeds.get(model) for speeds in by_machine)) for model in shared[:_MODELS_SHOWN])


def _speeds_chart(machines: tuple[str, ...], speeds: tuple[_Speeds, ...], caption: str = _OWN_PICKS) -> Chart:
    rows = tuple((name, *(fmt.number(value) for value in values)) for name, values in speeds)
    return Chart(
        chart_id="machines-speeds",
        title="The same models on each machine",
        caption=caption,
        description=f"Generation speed of {phrases.counted(len(speeds), 'model')} on {', '.join(machines)}.",
        table=Grid(
            caption="Tokens per second by machine",
            headers=("Model", *machines),
            rows=rows,
            numeric=frozenset(range(1, len(machines) + 1)),
        ),
        draw=partial(_draw_speeds, machines, speeds),
        height_in=max(2.8, 1.3 + 0.36 * len(speeds) + 0.22 * len(machines)),
    )


def _draw_speeds(machines: tuple[str, ...], speeds: tuple[_Speeds, ...], axes: "Axes", theme: Theme) -> None:
    log_axis(axes, "x", [value for _, values in speeds for value in values if value], pad=1.4)
    for row, (_, values) in enumerate(speeds):
        known = [value for value in values if value]
        axes.plot([min(known), max(known)], [row] * 2, color=theme.grid, lw=3, solid_capstyle="round", zorder=1)
    for index, (name, color, marker) in enumerate(zip(machines, theme.series * 3, _MARKERS * 3, strict=False)):
        placed = [(value, row) for row, (_, values) in enumerate(speeds) if (value := values[index])]
        axes.plot(
            [speed for speed, _ in placed],
            [row for _, row in placed],
            ls="none",
            marker=marker,
            markersize=8,
            color=color,
            markeredgecolor=theme.surface,
            label=shortened(name, _NAME_LIMIT),
        )
    axes.set_yticks(range(len(speeds)), [shortened(name, LABEL_LIMIT) for name, _ in speeds])
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.6, len(speeds) - 0.4)
    axes.invert_yaxis()
    axes.set_xlabel("Generation speed (tokens per second)")
    legend(axes, columns_count=1)
