"""Conventions a reader relies on: units in names, frozen types, lazy imports, who imports whom."""

import dataclasses
import importlib
import json
import subprocess
import sys

import pytest

FIELD_MODULES = (
    "advisor.types",
    "catalog.types",
    "probes.types",
    "advisor.machine",
    "advisor.attention",
    "advisor.shares",
    "advisor.weight_work",
    "advisor.work",
)
FORBIDDEN_SUFFIXES = (
    "_gb",
    "_gib",
    "_mb",
    "_gbps",
    "_tflops",
    "_gflops",
    "_ms",
    "_us",
    "_pct",
    "_percent",
    "_mhz",
    "_ghz",
)
HEAVY = ("torch", "llama_cpp", "pandas", "matplotlib", "pydantic", "jinja2", "numpy", "scipy", "psutil")


def dataclasses_of(module_name):
    module = importlib.import_module(module_name)
    return [
        item
        for item in vars(module).values()
        if dataclasses.is_dataclass(item) and item.__module__.startswith(module_name)
    ]


@pytest.mark.parametrize("module_name", FIELD_MODULES)
def test_fields_name_base_units(module_name):
    found = dataclasses_of(module_name)
    assert found
    for item in found:
        for field in dataclasses.fields(item):
            assert not field.name.endswith(FORBIDDEN_SUFFIXES), f"{item.__name__}.{field.name}"


@pytest.mark.parametrize("module_name", FIELD_MODULES)
def test_types_are_frozen(module_name):
    for item in dataclasses_of(module_name):
        assert item.__dataclass_params__.frozen, item.__name__


def imported_by(code):
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy():
    code = (
        "import contextlib, io\n"
        "from advisor.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n    main(['--help'])"
    )
    assert not set(HEAVY) & imported_by(code)


@pytest.mark.parametrize("package", ["advisor", "catalog.load", "probes.types", "reports", "advisor.types"])
def test_importing_a_package_imports_nothing_heavy(package):
    assert not set(HEAVY) & imported_by(f"import {package}")


PURE = (
    "roofline",
    "work",
    "weight_work",
    "operations",
    "attention",
    "timed_attention",
    "shares",
    "links",
    "candidates",
    "settings",
    "tuning",
    "predict",
    "memory.plan",
    "memory.kv_cache",
    "placement",
    "recommendation.score",
    "recommendation.eligibility",
    "estimate",
    "calibration.processor_fit",
    "calibration.untimed",
    "workloads",
)
IMPURE_IMPORTS = {"os", "io", "pathlib", "subprocess", "socket", "time", "json", "click", "pydantic"}


@pytest.mark.parametrize("name", PURE)
def test_the_core_is_pure(name):
    import ast
    from importlib.util import find_spec
    from pathlib import Path

    tree = ast.parse(Path(find_spec(f"advisor.{name}").origin).read_text(encoding="utf-8"))
    names = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    names |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert not names & IMPURE_IMPORTS
