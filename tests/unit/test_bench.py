"""The benchmarks themselves: every one runs with tiny sizes, and their arithmetic is right."""

from __future__ import annotations

import argparse
import importlib
import shutil
from pathlib import Path

import msgspec
import pytest

from bench import __main__ as command
from bench import engine, http, sizes, tokens
from bench.report import Report, Spread, number, percentile


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", command.NAMES)
def test_a_benchmark_runs_and_finds_figures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each benchmark measures the real services with tiny sizes, alone, and answers positive figures."""
    if name == "http" and shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    for module in (engine, http, tokens):
        monkeypatch.setattr(module, "PEER_PYTHON", Path("/nonexistent"))
    monkeypatch.setattr(engine, "PEER_MODULES", Path("/nonexistent"))
    report = importlib.import_module(f"bench.{name}").run(sizes.QUICK)
    assert report.name == name
    assert report.tables
    # The memory of a process may also shrink while a handful of streams open.
    figures = [figure for title, figure in report.figures.items() if title != "KiB a stream"]
    medians = [figure.median if isinstance(figure, Spread) else figure for figure in figures]
    assert medians
    # A second of idling may well send nothing.
    assert all(median > 0 or name in ("idle", "frugal") for median in medians), report.figures


def test_a_report_is_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs leave two lines, each with its figures, and the table shows the cells."""
    report = Report(name="engine", title="t", figures={"drain": Spread.of([3.0, 1.0, 2.0])})
    report.add_table(["what", "jobs/s"], [["ours", 12345.6]])
    report.append_to(tmp_path)
    report.append_to(tmp_path)
    first, second = (msgspec.json.decode(line) for line in (tmp_path / "engine.json").read_bytes().splitlines())
    assert first["figures"] == second["figures"] == {"drain": {"median": 2.0, "least": 1.0, "greatest": 3.0}}
    report.print()
    assert "| ours | 12,346 |" in capsys.readouterr().out


def test_numbers_have_as_many_digits_as_mean_something() -> None:
    """Large numbers lose their fraction, small ones keep two digits."""
    assert [number(value) for value in (12345.6, 99.94, 1.234, -250.4)] == ["12,346", "99.9", "1.23", "-250"]


def test_percentiles_are_values_that_occurred() -> None:
    """Nearest rank: no value is invented; nothing has no percentile."""
    values = list(range(1, 101))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7], 0.99)) == (51, 99, 7)
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_sizes_come_from_flags_over_the_defaults() -> None:
    """A flag replaces one size, `--quick` all others; a value that is no number stops with one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    sizes.add_flags(parser)
    asked = sizes.from_flags(parser.parse_args(["--quick", "--jobs", "7", "--depths", "1,2"]))
    assert asked == msgspec.structs.replace(sizes.QUICK, jobs=7, depths=(1, 2))
    assert sizes.from_flags(parser.parse_args([])) == sizes.Sizes()
    with pytest.raises(SystemExit, match="bench: "):
        sizes.from_flags(parser.parse_args(["--jobs", "many"]))
