"""Progress: silent by default, plain lines off a terminal, always the total."""

from __future__ import annotations

import pytest

from fivesigma.core.progress import progress, progress_mode, say


def test_the_library_is_silent_by_default(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(3, "reading") as advance:
        advance(3)
    say("hello")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["plain", "bar"])
def test_progress_says_what_how_much_and_of_what(mode: str, capfd: pytest.CaptureFixture[str]) -> None:
    with progress_mode(mode), progress(3000, "reading", unit="jets") as advance:  # type: ignore[arg-type]
        advance(1000)
        advance(2000)
    err = capfd.readouterr().err.replace(",", "")
    assert "reading" in err
    assert "3000" in err
    assert "jets" in err
