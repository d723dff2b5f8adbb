"""The command line, run in this process."""

import pytest


def advisor(*words: str) -> int:
    """The exit code of ``advisor WORDS``."""
    from advisor.cli.main import main  # where a test has made way for other packages, it is imported anew

    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    return int(stopped.value.code or 0)


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code of ``advisor WORDS``, its output and its errors."""
    code = advisor(*words)
    printed = capsys.readouterr()
    return code, printed.out, printed.err
