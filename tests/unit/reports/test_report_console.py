import io
import re
from dataclasses import replace
from unittest import mock

import pytest
import report_examples as examples
from rich.console import Console

from probes.types import EngineDevice, EngineReport, ProbeOutcome, ProbeStatus
from reports import console as printed

_PRINTERS = {
    "recommendation": lambda target: printed.print_recommendation(examples.recommendation(), target),
    "estimate": lambda target: printed.print_estimate(examples.recommendation().ranked[0].estimate, True, target),
    "validation": lambda target: printed.print_validation(examples.validation(), target),
    "profile": lambda target: printed.print_profile(examples.profile(), target),
    "accuracy": lambda target: printed.print_accuracy(examples.accuracy(), target),
}


def shown(show, *, width: int = 80, terminal: bool = False) -> str:
    buffer = io.StringIO()
    show(Console(file=buffer, width=width, force_terminal=terminal, markup=False, highlight=False, emoji=False))
    return buffer.getvalue()


@pytest.mark.parametrize("name", _PRINTERS)
def test_everything_but_commands_fits_80_columns(name):
    for line in shown(_PRINTERS[name]).splitlines():
        assert len(line) <= 80 or line.startswith("  llama-server")


@pytest.mark.parametrize("name", _PRINTERS)
def test_a_pipe_gets_no_escape_sequence(name):
    assert "\x1b" not in shown(_PRINTERS[name])


def test_a_terminal_gets_colour():
    assert "\x1b[" in shown(_PRINTERS["recommendation"], terminal=True)


def test_no_color_is_respected():
    with mock.patch.dict("os.environ", {"NO_COLOR": "1"}):
        assert not re.search(r"\x1b\[3[0-9]m", shown(_PRINTERS["recommendation"], terminal=True))


def test_hostile_names_stay_text():
    text = shown(lambda target: printed.print_recommendation(examples.hostile_recommendation(), target), terminal=True)
    assert "\x1b[31mred" not in text
    assert "\x1b]8" not in text
    assert "\u202e" not in text
    plain = shown(lambda target: printed.print_recommendation(examples.hostile_recommendation(), target), width=200)
    assert "[bold red]markup[/] :skull:" in plain


def test_the_command_is_printed_on_one_line():
    choice = examples.recommendation().ranked[0]
    assert f"  {choice.command}\n" in shown(_PRINTERS["recommendation"])


def test_a_wide_terminal_shows_more_columns():
    assert "calibrated here" in shown(_PRINTERS["recommendation"], width=140)
    assert "calibrated here" not in shown(_PRINTERS["recommendation"])


def test_long_lists_say_what_they_leave_out():
    large = examples.large_recommendation(60)
    text = shown(lambda target: printed.print_recommendation(large, target))
    assert "… and 35 more picks" in text


def test_an_empty_recommendation_says_so_and_why():
    empty = replace(examples.recommendation(), ranked=())
    text = shown(lambda target: printed.print_recommendation(empty, target))
    assert "Nothing passes the limits" in text
    assert "needs 579 GiB" in text


def test_empty_documents_print():
    assert "no records" in shown(lambda t: printed.print_validation(replace(examples.validation(), records=()), t))
    assert "no measurements" in shown(lambda t: printed.print_profile(replace(examples.profile(), outcomes=()), t))
    empty = replace(examples.accuracy(), rows=(), summary=())
    assert "no rows" in shown(lambda t: printed.print_accuracy(empty, t))


def test_an_estimate_without_explain_hides_its_terms():
    estimate = examples.recommendation().ranked[0].estimate
    assert "term by term" not in shown(lambda target: printed.print_estimate(estimate, False, target))
    assert "term by term" in shown(lambda target: printed.print_estimate(estimate, True, target))


def test_an_estimate_without_terms_says_so():
    estimate = replace(examples.recommendation().ranked[0].estimate, terms=())
    assert "holds no terms" in shown(lambda target: printed.print_estimate(estimate, True, target))


def test_a_failed_validation_shows_its_reason():
    assert "failed: the engine ran out of memory at 21.9 GiB" in shown(_PRINTERS["validation"])


def test_an_engine_that_cannot_use_the_gpu_stands_out_with_the_command_to_copy():
    fix = 'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python x'
    trouble = ProbeOutcome(
        probe_id="engine.devices",
        device_id="cpu",
        status=ProbeStatus.FAILED,
        reason="you have RTX 4090, but the installed llama.cpp 0.3.36 was built without CUDA",
        fix=fix,
    )
    report = EngineReport(
        engine_id="llama.cpp",
        version="0.3.36",
        devices=(EngineDevice(name="CPU", description="EPYC", backend="CPU", kind="cpu", memory_total_bytes=24 << 30),),
    )
    found = replace(examples.gpu_profile(), outcomes=(trouble,), engines=(report, EngineReport(engine_id="vllm")))
    text = shown(lambda target: printed.print_profile(found, target))
    assert fix in map(str.strip, text.splitlines())  # on one line, so that it can be copied
    words = " ".join(text.split())
    assert "llama.cpp 0.3.36, can use CPU (EPYC, 24 GiB)" in words
    assert "vllm version unknown" in words
    assert "built without CUDA." in words
    assert "Not measured" not in text  # said once
    fine = replace(found, outcomes=(replace(trouble, status=ProbeStatus.OK, fix=None),))
    assert "built without" not in shown(lambda target: printed.print_profile(fine, target))


def test_a_profile_says_what_was_not_measured_and_how_to_mend_it():
    text = " ".join(shown(_PRINTERS["profile"]).split())
    assert "no NVIDIA driver on this machine" in text
    assert "Try: install the NVIDIA driver" in text
