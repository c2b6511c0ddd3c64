"""The command line as a user calls it."""

from __future__ import annotations

from typing import Any

import pytest

from jobs import cli


@pytest.fixture()
def corrigenda(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command line as a user does, on a terminal of so many columns; returns exit code,
    standard output and error."""

    def command(*words: object, columns: int = 200) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["corrigenda", *map(str, words)])
        monkeypatch.setenv("COLUMNS", str(columns))
        capsys.readouterr()  # what libraries said while fixtures were made
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return command
