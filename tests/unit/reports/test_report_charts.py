import io
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
import report_examples as examples
from PIL import Image

from advisor.types import TrendPoint
from probes.types import Measurement, ProbeOutcome, ProbeStatus
from reports import png
from reports.charts import axes as axis
from reports.charts import curves, machines, memory, pareto, proof, roofline, trends
from reports.charts.base import to_svg
from reports.charts.svg import inline_svg
from reports.charts.theme import DARK, LIGHT, roles
from reports.errors import ReportRequestError
from reports.text import plain
from reports.view import build_page


@pytest.fixture(scope="module")
def charts():
    documents = (*examples.everything(), examples.gpu_profile(), examples.recommendation(examples.GPU, "RTX 4090"))
    return build_page(documents).charts()


@pytest.fixture(scope="module")
def drawings(charts):
    return {chart.chart_id: inline_svg(chart) for chart in charts}


def contrast(first: str, second: str) -> float:
    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_from_their_surface(theme):
    for name in ("ink", "muted"):
        assert contrast(getattr(theme, name), theme.surface) >= 4.5, name
    for name in ("blue", "orange", "green", "red", "purple", "sky", "sand"):
        assert contrast(getattr(theme, name), theme.surface) >= 3.0, name


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_each_role_has_a_colour_of_its_own(theme):
    colors = list(roles(theme).values())
    assert len(colors) == len(set(colors))


def test_drawings_hold_no_inline_style_and_only_theme_colours(drawings):
    for name, text in drawings.items():
        assert "style=" not in text, name
        assert "<style" not in text
        assert not re.search(r'(?:fill|stroke)="#', text), name


def test_drawings_have_title_description_and_own_ids(drawings):
    everything = []
    for name, text in drawings.items():
        root = ET.fromstring(text)
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == f"{name}-title {name}-desc"
        everything += [element.get("id") for element in root.iter() if element.get("id")]
        ids = {element.get("id") for element in root.iter()}
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= ids
    assert len(everything) == len(set(everything))


def test_axes_name_their_units(drawings):
    expected = {
        "quality-speed-1": ["tokens per second", "0–100"],
        "roofline-1": ["FLOP per byte", "TFLOP/s"],
        "memory-1": ["GiB"],
        "depth-1": ["Tokens in the context", "tokens per second"],
        "proof-1": ["tokens per second"],
        "errors-1": ["(%)"],
        "changes-1": ["(%)"],
        "trend-1": ["UTC", "tokens per second"],
    }
    for name, units in expected.items():
        for unit in units:
            assert unit in drawings[name], (name, unit)


def test_the_same_chart_gives_the_same_bytes(charts):
    for chart in charts[::5]:
        assert to_svg(chart) == to_svg(chart)


def test_drawing_leaves_the_readers_settings_alone(charts):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    to_svg(charts[0])
    assert dict(mpl.rcParams) == before


def test_hostile_names_are_text_in_drawings():
    for chart in build_page((examples.hostile_recommendation(),)).charts():
        root = ET.fromstring(inline_svg(chart))
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {
            "svg",
            "g",
            "defs",
            "path",
            "text",
            "title",
            "desc",
            "use",
            "clipPath",
            "rect",
            "pattern",
            "tspan",
        }
    text = inline_svg(build_page((examples.hostile_recommendation(),)).charts()[0])
    assert "&lt;script&gt;" in text


def test_a_sheet_is_a_png_and_always_the_same():
    documents = (examples.validation(), examples.regression())
    data = png.render(documents)
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    assert image.width > 2000
    assert not image.info
    assert png.render(documents) == data


def test_one_chart_can_be_asked_for_by_name():
    image = Image.open(io.BytesIO(png.render((examples.profile(),), chart="roof", dark=True)))
    assert image.width < 1400
    assert image.getpixel((2, 2)) == tuple(bytes.fromhex(DARK.surface[1:]))


def test_an_unknown_chart_names_those_there_are():
    with pytest.raises(ReportRequestError, match="there are: roofline-1, cache-curve-1, thread-sweep-1"):
        png.render((examples.profile(),), chart="pie")


def test_documents_without_charts_still_give_a_picture():
    image = Image.open(io.BytesIO(png.render((examples.calibration(),))))
    assert image.width > 1000


def test_a_roofline_places_both_phases_of_each_pick():
    documents = (examples.recommendation(), examples.profile())
    chart = roofline.build(documents)[0]
    phases = [row[1] for row in chart.table.rows]
    assert phases.count("generate") == phases.count("read prompt") == 8
    assert phases.count("ceiling") == 4


def test_a_roofline_needs_bandwidth_and_arithmetic():
    only_bandwidth = replace(examples.profile(), outcomes=examples.profile().outcomes[:1])
    assert roofline.build((only_bandwidth,)) == ()


def test_decode_points_lie_below_the_measured_roof():
    documents = (examples.recommendation(), examples.profile())
    roof = roofline.roofs(examples.profile())[0]
    estimates = [(c.display_name, c.estimate) for c in documents[0].ranked]
    for point in roofline.points(estimates, "cpu"):
        limit = min(roof.flop_per_s[0][1], roof.bytes_per_s * point.flop_per_byte)
        assert point.flop_per_s <= limit * 1.05


def test_pairs_count_by_distance():
    chart = proof.build((examples.validation(),))[0]
    assert "10 predictions" in chart.description
    assert "20 %" in chart.description


def test_curves_are_found_by_the_units_of_their_columns():
    details = {"buffer_bytes": (1e5, 1e6), "read_bytes_per_s": (2e11, 1e11)}
    measurement = Measurement(quantity="read", unit="bytes_per_s", value=2e11, median_value=2e11, details=details)
    outcome = ProbeOutcome(probe_id="cpu.cache", device_id="cpu", status=ProbeStatus.OK, measurement=measurement)
    found = curves.curves(replace(examples.profile(), outcomes=(outcome,)), "_bytes")
    assert found[0].at == (1e5, 1e6)


def test_uneven_curves_are_left_out():
    details = {"size_bytes": (1e5, 1e6, 1e7), "bytes_per_s": (2e11, 1e11)}
    measurement = Measurement(quantity="read", unit="bytes_per_s", value=2e11, median_value=2e11, details=details)
    outcome = ProbeOutcome(probe_id="cpu.cache", device_id="cpu", status=ProbeStatus.OK, measurement=measurement)
    assert curves.build((replace(examples.profile(), outcomes=(outcome,)),)) == ()


def test_a_trend_needs_two_dated_points():
    history = examples.history()
    undated = replace(history.trends[0], points=(TrendPoint(created_at="yesterday", value=1.0),) * 3)
    assert trends.build((replace(history, trends=(undated,)),)) == ()


def test_machines_are_compared_only_where_there_are_two():
    assert machines.build((examples.profile(), examples.recommendation())) == ()
    names = [chart.chart_id for chart in machines.build((examples.profile(), examples.gpu_profile()))]
    assert names == ["machines-measured"]


def test_glyphs_that_a_font_lacks_do_not_stop_a_picture():
    odd = replace(examples.profile(), devices=(replace(examples.profile().devices[0], name=plain("模型 🤖")),))
    assert png.render((odd,), chart="roof").startswith(b"\x89PNG")


def test_the_front_holds_what_no_pick_beats_in_quality_and_speed():
    ranked = examples.recommendation().ranked
    front = pareto._front(ranked)
    assert front == sorted(front)
    assert [quality for _, quality in front] == sorted((quality for _, quality in front), reverse=True)
    for choice in ranked:
        speed, quality = choice.estimate.decode_tokens_per_s.mid, choice.quality.mid
        assert any(s >= speed and q >= quality for s, q in front)


@pytest.mark.parametrize(
    ("low", "high", "least", "most"), [(25.0, 140.0, 3, 8), (30.0, 45.0, 2, 8), (3.0, 400.0, 4, 10), (1e-6, 1e6, 4, 14)]
)
def test_a_logarithmic_axis_has_ticks_to_read_it_by(low, high, least, most):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    axis.log_axis(axes, "y", [low, high])
    shown = [tick for tick in axes.get_yticks() if low / 1.3 <= tick <= high * 1.3]
    assert least <= len(shown) <= most


def test_a_table_of_embeddings_on_the_cpu_gets_no_bar():
    made = examples.recommendation(examples.GPU, "RTX 4090").ranked[0].estimate
    card = made.memory.devices[0]
    beside = replace(card, device_id="cpu", total_bytes=card.total_bytes // 20)
    half = replace(card, device_id="cuda:1")
    devices = replace(made.memory, devices=(card, half, beside))
    rows = memory.build([replace(made, memory=devices)])[0].table.rows
    assert [row[1] for row in rows] == [card.device_id, "cuda:1"]
