"""Charts: each module turns documents into zero or more `reports.charts.base.Chart` values.

The functions here say which charts belong to which part of a report.
"""

from collections.abc import Sequence

from advisor.types import Accuracy, Estimate, Fleet, Recommendation, Validation
from probes.types import HardwareProfile
from reports.blocks import Charts
from reports.charts import changes, curves, depth, errors, machines, memory, pareto, proof, purchase, roofline, trends


def _only(documents: Sequence[object], *kinds: type) -> list[object]:
    return [document for document in documents if isinstance(document, kinds)]


def of_recommendations(documents: Sequence[object]) -> Charts:
    """Quality against speed, speed against context, memory."""
    found = _only(documents, Recommendation)
    return Charts((*pareto.build(found), *depth.build(found), *memory.build(found)))


def of_estimates(documents: Sequence[object]) -> Charts:
    """Memory and speed against context of single predictions; a recommendation's page has its own."""
    found = _only(documents, Estimate)
    if _only(documents, Recommendation):
        return Charts(())
    return Charts((*memory.build(found), *depth.build(found)))


def of_purchases(documents: Sequence[object]) -> Charts:
    """Prices against speed, and machines side by side."""
    return Charts(purchase.build(documents))


def of_validations(documents: Sequence[object]) -> Charts:
    """Predicted against measured."""
    return Charts(proof.build(_only(documents, Validation)))


def of_profiles(documents: Sequence[object]) -> Charts:
    """Rooflines with the models of the other documents on them, and measured curves."""
    placed = _only(documents, HardwareProfile, Recommendation, Validation, Estimate)
    return Charts((*roofline.build(placed), *curves.build(placed)))


def of_machines(documents: Sequence[object]) -> Charts:
    """Machines side by side."""
    return Charts(machines.build(documents))


def of_fleets(documents: Sequence[object]) -> Charts:
    """The nodes of each fleet side by side."""
    return Charts(tuple(chart for fleet in documents if isinstance(fleet, Fleet) for chart in machines.of_fleet(fleet)))


def of_regressions(documents: Sequence[object]) -> Charts:
    """Changes between two runs."""
    return Charts(changes.build(documents))


def of_accuracies(documents: Sequence[object]) -> Charts:
    """Predicted against published, and errors by group."""
    found = _only(documents, Accuracy)
    return Charts((*proof.build(found), *errors.build(found)))


def of_histories(documents: Sequence[object]) -> Charts:
    """Trends."""
    return Charts(trends.build(documents))
