"""What machines cost against how fast they run a model."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import MachineClass, MachineComparison, Plan, PlanRow
from reports import format as fmt
from reports import pace, phrases, purchase
from reports.blocks import Grid
from reports.charts.axes import legend, log_axis
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vPX"
_NAME_LIMIT = 26
#: How far the axis goes beyond the longest bar, for the model named behind it.
_ROOM_FOR_NAMES = 1.9


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """Price and speed of every priced machine of each plan; speed of each machine of each comparison."""
    plans = [(document, _priced(document)) for document in documents if isinstance(document, Plan)]
    charts = [_plan_chart(plan, rows, index) for index, (plan, rows) in enumerate(plans, 1) if rows]
    compared = [document for document in documents if isinstance(document, MachineComparison)]
    for index, comparison in enumerate(compared, 1):
        speeds = _speeds(comparison)
        if speeds:
            charts.append(_comparison_chart(speeds, comparison.workload.task, index))
    return tuple(charts)


def _priced(plan: Plan) -> list[PlanRow]:
    return [row for row in plan.rows if row.price_usd is not None]


def _plan_chart(plan: Plan, rows: Sequence[PlanRow], index: int) -> Chart:
    cells = tuple(
        (
            purchase.planned_machine(row.hardware),
            purchase.price(row.price, row.price_usd),
            fmt.interval(row.estimate.decode_tokens_per_s),
        )
        for row in rows
    )
    cheapest = rows[0]
    return Chart(
        chart_id=f"plan-prices-{index}",
        title=f"Price and speed for {plain(plan.model_id)}",
        caption="Left is cheaper, up is faster; the best of each kind for its price is named. Rents are in the table.",
        description=f"{phrases.counted(len(rows), 'machine')} with a known price. The cheapest is "
        f"{purchase.planned_machine(cheapest.hardware)} at {purchase.price(cheapest.price, cheapest.price_usd)}.",
        table=Grid(
            caption="Price and speed", headers=("Machine", "Price", "tok/s"), rows=cells, numeric=frozenset({1, 2})
        ),
        draw=partial(_draw_plan, tuple(rows)),
    )


def _draw_plan(rows: tuple[PlanRow, ...], axes: "Axes", theme: Theme) -> None:
    log_axis(axes, "x", [row.price_usd for row in rows if row.price_usd], pad=1.4)
    log_axis(axes, "y", [row.estimate.decode_tokens_per_s.mid for row in rows], pad=1.4)
    classes: list[MachineClass] = [
        kind for kind in purchase.CLASS_ORDER if any(row.machine_class is kind for row in rows)
    ]
    for kind, color, marker in zip(classes, theme.series * 3, _MARKERS * 3, strict=False):
        own = [row for row in rows if row.machine_class is kind]
        axes.plot(
            [row.price_usd or 0.0 for row in own],
            [row.estimate.decode_tokens_per_s.mid for row in own],
            ls="none",
            marker=marker,
            markersize=6,
            color=color,
            label=purchase.class_title(kind),
        )
        best = max(own, key=lambda row: row.estimate.decode_tokens_per_s.mid / (row.price_usd or 1.0))
        axes.annotate(
            shortened(purchase.planned_machine(best.hardware), _NAME_LIMIT),
            (best.price_usd or 0.0, best.estimate.decode_tokens_per_s.mid),
            textcoords="offset points",
            xytext=(5, 5),
            fontsize=8,
            color=theme.muted,
        )
    axes.set_xlabel("Price (USD)")
    axes.set_ylabel("Generation speed (tok/s)")
    legend(axes, columns_count=2)


def _speeds(comparison: MachineComparison) -> list[tuple[str, str, float]]:
    found = []
    for column in comparison.machines:
        made = column.estimate or (column.picks[0].estimate if column.picks else None)
        if made is not None:
            name = plain(made.model_id).rpartition("/")[2]
            found.append((purchase.machine(column.hardware), f"{name} {plain(made.quant_id)}", pace.speed(made).mid))
    return found


def _comparison_chart(speeds: Sequence[tuple[str, str, float]], task: str, index: int) -> Chart:
    fastest = max(speeds, key=lambda entry: entry[2])
    return Chart(
        chart_id=f"compared-machines-{index}",
        title="Speed of each machine's first pick",
        caption="Each machine in the setting that suits it best.",
        description=f"{phrases.counted(len(speeds), 'machine')}; the fastest is {fastest[0]}, "
        f"{fmt.number(fastest[2])} {pace.unit(task)}.",
        table=Grid(
            caption="Speed by machine",
            headers=("Machine", "Model", pace.unit(task)),
            rows=tuple((name, model, fmt.number(speed)) for name, model, speed in speeds),
            numeric=frozenset({2}),
        ),
        draw=partial(_draw_comparison, tuple(speeds), pace.axis(task)),
        height_in=max(2.4, 1.2 + 0.45 * len(speeds)),
    )


def _draw_comparison(speeds: tuple[tuple[str, str, float], ...], label: str, axes: "Axes", theme: Theme) -> None:
    positions = range(len(speeds))
    axes.barh(list(positions), [speed for _, _, speed in speeds], color=theme.series[0], height=0.6)
    axes.set_yticks(list(positions), [shortened(name, _NAME_LIMIT) for name, _, _ in speeds])
    axes.invert_yaxis()
    for position, (_, model, speed) in zip(positions, speeds, strict=True):
        axes.annotate(
            f"{fmt.number(speed)}  {shortened(model, _NAME_LIMIT)}",
            (speed, position),
            textcoords="offset points",
            xytext=(4, 0),
            va="center",
            fontsize=8,
            color=theme.muted,
        )
    axes.set_xlim(0.0, _ROOM_FOR_NAMES * max(speed for _, _, speed in speeds))
    axes.set_xlabel(label)
