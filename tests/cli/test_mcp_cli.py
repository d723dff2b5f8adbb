"""``advisor mcp`` without its packages, and with ones that are broken."""

import sys

import pytest
from command_line import answer


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    """Start the server where the folder's packages stand in for the installed ones."""

    def call() -> str:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("mcp", "mcp_types")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        code, _, error = answer(capsys, "mcp")
        assert code == 1
        return error

    return call


def test_a_broken_package_is_not_called_missing(start, tmp_path):
    (tmp_path / "mcp").mkdir()
    (tmp_path / "mcp" / "__init__.py").write_text("raise RuntimeError('compiled for\\nanother Python')")
    assert start() == (
        "advisor: mcp is installed but cannot be imported (RuntimeError: compiled for another Python);"
        " mend it with: pip install --force-reinstall 'model-fit-advisor[mcp]'\n"
    )


def test_a_package_that_lacks_one_of_its_own_says_which(start, tmp_path):
    (tmp_path / "mcp").mkdir()
    (tmp_path / "mcp" / "__init__.py").write_text("import no_such_package_of_its_own")
    said = start()
    assert "mcp is installed but cannot be imported (ModuleNotFoundError: No module named" in said
    assert said.count("\n") == 1


def test_a_missing_package_is_named_with_the_command_that_installs_it(start, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("advisor.cli.mcp._PACKAGES", ("no_such_package_anywhere",))
    assert start() == "advisor: mcp is not installed; install it with: pip install 'model-fit-advisor[mcp]'\n"
