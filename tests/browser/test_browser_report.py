"""The HTML report in a real browser. Set up with ``python tests/browser/install.py``, run with ``-m browser``."""

import importlib.util
import json
import os
import random
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import report_examples as examples

import reports
from advisor import codec
from advisor.recommendation.score import score_estimate
from advisor.types import EstimateWarning, Interval, Workload
from reports import format as fmt

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent


def _install():
    spec = importlib.util.spec_from_file_location("browser_install", HERE / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _chromium() -> str:
    found = _install().find_chromium()
    assert found, "no Chromium found; run python tests/browser/install.py"
    assert (HERE / "node_modules").is_dir(), "not set up; run python tests/browser/install.py"
    return found


def drive(path: Path, scenario: str, argument: object = None, **options: object) -> dict:
    command = [
        shutil.which("node"),
        str(HERE / "drive.cjs"),
        str(path),
        scenario,
        json.dumps(argument),
        json.dumps(options),
    ]
    environment = os.environ | {"CHROMIUM": _chromium()}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=HERE)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["errors"] == []
    assert seen["requests"] == []
    assert seen["console"] == []
    return seen["result"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    documents = {
        "usual": (examples.recommendation(), examples.profile(), examples.validation()),
        "everything": (
            *examples.everything(),
            examples.gpu_profile(),
            examples.recommendation(examples.GPU, "RTX 4090"),
        ),
        "hostile": (examples.hostile_recommendation(),),
        "large": (examples.large_recommendation(),),
        "empty": (replace(examples.recommendation(), ranked=(), rejected=()),),
        "profile": (examples.profile(),),
    }
    return {name: reports.render(held, folder / f"{name}.html") for name, held in documents.items()}


@pytest.mark.parametrize("name", ["usual", "everything", "hostile", "large", "empty", "profile"])
def test_every_page_opens_without_error_or_request(pages, name):
    seen = drive(pages[name], "open")
    assert seen["scripts_run"]
    assert all(count >= 1 for count in seen["landmarks"])
    assert seen["overflow"] <= 0


@pytest.mark.parametrize("width", [380, 768, 1400])
def test_nothing_sticks_out_at_any_width(pages, width):
    for name in ("usual", "everything", "hostile"):
        assert drive(pages[name], "open", width=width)["overflow"] <= 0


def test_a_page_of_the_whole_shelf_is_soon_interactive(pages):
    seen = drive(pages["large"], "open")
    assert seen["rows"] == 25
    print(f"interactive after {seen['interactive_ms']:.0f} ms with 1,400 picks")


def test_the_table_sorts_both_ways(pages):
    quality = [row["order"] for row in drive(pages["usual"], "sort", "quality")]
    assert [float(text.split()[0]) for text in quality[0]] == sorted(
        (float(t.split()[0]) for t in quality[0]), reverse=True
    )
    assert [float(text.split()[0]) for text in quality[1]] == sorted(float(t.split()[0]) for t in quality[1])
    names = drive(pages["usual"], "sort", "quant")
    assert names[0]["order"] == sorted(names[0]["order"])
    assert [row["direction"] for row in names] == ["ascending", "descending"]


def test_the_table_filters_and_searches(pages):
    seen = drive(pages["usual"], "filter", "qwen 8b")
    assert seen["before"] == 12
    assert seen["found"] == ["Qwen3.6 8B"]
    assert seen["none"] == "No pick matches."
    choices = examples.recommendation().ranked
    assert seen["front"] == [choice.display_name for choice in choices if choice.pareto]
    assert seen["licensed"] == sum(choice.license_id == seen["licence"] for choice in choices)


def test_a_row_opens_by_keyboard_and_its_command_is_copied(pages):
    seen = drive(pages["usual"], "expand")
    choice = examples.recommendation().ranked[1]
    assert seen["expanded"] == "true"
    assert choice.reasons[0] in seen["text"]
    assert "not timed on this machine" in seen["text"]
    assert "KV cache" in seen["text"]
    assert seen["bars"] >= 5
    assert seen["button"] == "Copied"
    assert seen["copied"] == choice.command
    assert seen["closed"] == 0


def test_a_slider_ranks_the_table_anew_and_reset_restores_it(pages):
    seen = drive(pages["usual"], "what_if", [["prompt_tokens", 7], ["output_tokens", 9], ["min_speed", 4]])
    assert seen["after"]["order"] != seen["before"]["order"]
    assert seen["after"]["speed"] != seen["before"]["speed"]
    assert "picks work; first is" in seen["after"]["status"]
    assert "—" in seen["after"]["rank"]
    assert seen["reset"] == seen["before"]


def test_the_page_computes_what_the_command_line_would(pages):
    base = examples.recommendation()
    workloads = [
        base.workload,
        replace(base.workload, prompt_tokens=16384, output_tokens=2048, context_tokens=32768),
        replace(base.workload, prompt_tokens=512, output_tokens=333, context_tokens=2048, concurrency_count=4),
        replace(base.workload, prompt_tokens=65536, output_tokens=8192, context_tokens=131072),
    ]
    asked = [codec.to_mapping(base.ranked[0])["estimate"]["workload"] | _plain(workload) for workload in workloads]
    answers = drive(pages["usual"], "evaluate", asked)
    for workload, picks in zip(workloads, answers, strict=True):
        for choice, seen in zip(base.ranked, picks, strict=True):
            model = next(model for model in examples.MODELS if model[0] == choice.estimate.model_id)
            real = examples.make_estimate(model, choice.estimate.quant_id, workload)
            assert seen["decode"] == pytest.approx(real.decode_tokens_per_s.mid, rel=1e-5)
            assert seen["first"] == pytest.approx(real.first_token_s.mid, rel=1e-5)
            assert seen["memory"] == real.memory.total_bytes
            assert seen["fits"] == real.memory.fits
            if workload != base.workload:
                scored = score_estimate(real, choice.quality)
                assert seen["score"] == pytest.approx(scored.score, rel=1e-5)
                assert seen["usable"] == scored.usable


def test_the_page_counts_what_is_shared_with_the_cpu_as_the_command_line_does(tmp_path):
    base = examples.recommendation()
    spilled = (EstimateWarning.SPILLS_TO_CPU,)
    shared = tuple(replace(pick, estimate=replace(pick.estimate, warnings=spilled)) for pick in base.ranked)
    page = reports.render((replace(base, ranked=shared),), tmp_path / "shared.html")
    asked = replace(base.workload, prompt_tokens=16384, context_tokens=32768)
    (picks,) = drive(page, "evaluate", [codec.to_mapping(shared[0])["estimate"]["workload"] | _plain(asked)])
    for pick, seen in zip(shared, picks, strict=True):
        model = next(model for model in examples.MODELS if model[0] == pick.estimate.model_id)
        real = replace(examples.make_estimate(model, pick.estimate.quant_id, asked), warnings=spilled)
        assert seen["score"] == pytest.approx(score_estimate(real, pick.quality).score, rel=1e-5)


def _plain(workload: Workload) -> dict:
    names = ("prompt_tokens", "output_tokens", "context_tokens", "concurrency_count")
    return {name: getattr(workload, name) for name in names}


def test_the_page_formats_numbers_as_python_does(pages):
    random.seed(7)
    values = [random.uniform(-1, 1) * 10 ** random.uniform(-7, 14) for _ in range(400)]
    values += [odd / 2**power for odd in range(1, 40, 2) for power in range(1, 6)]
    values += [0, 1, 0.5, 1.5, 2.5, 8.7, 24, 99.95, 100, 999.5, 1000, 1234, 1e6, 0.0995, 0.995, 119.9, 120, 7200]
    seen = drive(pages["usual"], "format", values)
    assert seen["number"] == [fmt.number(value) for value in values]
    assert seen["duration"] == [fmt.duration(value) for value in values]
    assert seen["gib"] == [fmt.gib(value) for value in values]
    assert seen["tokens"] == [fmt.tokens(int(abs(value) + 0.5)) for value in values]
    spans = [Interval(low=value * 0.9, mid=value, high=value * 1.15) for value in values]
    assert seen["interval"] == [fmt.interval(span) for span in spans]
    assert seen["plain"] == ["a\ufffd[31m", "\ufffdexe", "two spaces", "softhyphen"]


@pytest.mark.parametrize("name", ["usual", "large"])
def test_the_embedded_document_can_be_saved_and_read_again(pages, name):
    seen = drive(pages[name], "save")
    assert seen["name"] == "recommendation.json"
    expected = examples.recommendation() if name == "usual" else examples.large_recommendation()
    assert codec.loads(seen["text"]) == expected


def test_colours_follow_the_system_and_the_button(pages):
    light, _, dark, again = drive(pages["usual"], "theme")
    assert light != dark
    assert again == light
    assert drive(pages["usual"], "theme", scheme="dark")[0] == dark


def test_the_page_prints_without_its_controls(pages):
    seen = drive(pages["everything"], "print")
    assert all(seen["hidden"])
    assert seen["head"] == "%PDF-"
    assert seen["bytes"] > 50_000


@pytest.mark.parametrize("name", ["usual", "everything", "hostile", "empty"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_accessibility_violation(pages, name, scheme):
    assert drive(pages[name], "axe", scheme=scheme) == []


def test_a_phone_is_accessible_too(pages):
    assert drive(pages["usual"], "axe", width=380) == []


def test_everything_works_from_the_keyboard(pages):
    seen = drive(pages["usual"], "keyboard")
    assert seen["first"] == "Skip to the report"
    assert (seen["before"], seen["after"]) == ("8k", "16k")
    assert seen["spoken"] == "16k"


def test_without_scripts_the_first_picks_are_there(pages):
    assert drive(pages["large"], "none", scripts=False)["rows"] >= 25
