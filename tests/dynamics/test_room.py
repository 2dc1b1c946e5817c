"""What all tools of the room refuse, and what the room brings with it."""

import subprocess
import sys

import numpy as np
import pytest

from tsforge import dynamics
from tsforge.errors import ArgumentError, ShapeError

OF_ONE_SERIES = {
    "autocorrelation": dynamics.autocorrelation,
    "lag_by_acf": dynamics.lag_by_acf,
    "mutual_information": lambda x: dynamics.mutual_information(x, 3),
    "lag_by_mutual_information": dynamics.lag_by_mutual_information,
    "cao": lambda x: dynamics.cao(x, 1, 3),
    "embedding_dimension": lambda x: dynamics.embedding_dimension(x, 1, 3),
    "false_neighbours": lambda x: dynamics.false_neighbours(x, 1, 3),
    "zero_one_test": dynamics.zero_one_test,
}
OF_STATES = {
    "delay_embed": lambda x: dynamics.delay_embed(x, 2),
    "divergence_curve": lambda x: dynamics.divergence_curve(x, dimension=2, steps=3),
    "largest_lyapunov": lambda x: dynamics.largest_lyapunov(x, dimension=2, fit=(0, 3)),
    "correlation_sum": lambda x: dynamics.correlation_sum(x, [1.0]),
    "correlation_dimension": dynamics.correlation_dimension,
    "recurrence_matrix": lambda x: dynamics.recurrence_matrix(x, threshold=1.0),
    "poincare_section": lambda x: dynamics.poincare_section(x, [1.0]),
}
TOOLS = OF_ONE_SERIES | OF_STATES
NEEDS_CHANGE = [*OF_ONE_SERIES, "divergence_curve", "largest_lyapunov", "correlation_dimension"]


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_missing_value_is_refused_and_its_step_is_said(name, odd):
    x = np.random.default_rng(0).normal(size=100)
    x[[41, 50]] = odd
    with pytest.raises(ArgumentError, match=r"2 values that are NaN or infinite, the first at step 41"):
        TOOLS[name](x)


@pytest.mark.parametrize("name", NEEDS_CHANGE)
def test_a_constant_series_is_refused(name):
    with pytest.raises(ArgumentError, match=r"constant|changes"):
        TOOLS[name](np.full(100, 0.1))


@pytest.mark.parametrize("name", sorted(TOOLS.keys() - set(NEEDS_CHANGE)))
def test_a_constant_series_is_taken_where_it_means_something(name):
    TOOLS[name](np.full(100, 0.1))


@pytest.mark.parametrize("name", OF_ONE_SERIES)
def test_two_columns_are_refused_where_one_series_is_wanted(name):
    with pytest.raises(ShapeError, match=r"\(50, 2\)"):
        TOOLS[name](np.random.default_rng(0).normal(size=(50, 2)))


@pytest.mark.parametrize("name", TOOLS)
def test_words_and_complex_numbers_are_refused(name):
    for x in (np.array(["a"] * 60), np.ones(60) * 1j):
        with pytest.raises(ArgumentError, match="real numbers"):
            TOOLS[name](x)


@pytest.mark.parametrize("name", TOOLS)
def test_one_value_is_too_few(name):
    with pytest.raises(ArgumentError, match="1 steps"):
        TOOLS[name]([1.0])


@pytest.mark.parametrize("name", TOOLS)
def test_whole_numbers_and_single_precision_are_taken_and_nothing_is_changed(name):
    x = np.random.default_rng(0).permutation(2000)[:400]
    kept = x.copy()
    for values in (x, x.astype(np.float32)):
        try:
            TOOLS[name](values)
        except ArgumentError as error:
            assert "level off" in str(error)  # noqa: PT017 (noise has no embedding dimension)
    np.testing.assert_array_equal(x, kept)


def test_every_tool_is_told_here_or_has_no_series_to_refuse():
    functions = {name for name in dynamics.__all__ if name[0].islower()}
    others = {
        "delay_unembed", "determinism", "recurrence_rate", "map_spectrum", "flow_spectrum", "kaplan_yorke_dimension",
    }
    assert functions == TOOLS.keys() | others


def test_every_public_name_says_what_it_is():
    assert [name for name in dynamics.__all__ if not getattr(dynamics, name).__doc__] == []


@pytest.mark.parametrize("code", ["import tsforge.dynamics", "import polars, torch"])
def test_the_room_brings_neither_torch_nor_polars_and_the_probe_would_see_them(code):
    probe = f"import sys\n{code}\nprint('torch' in sys.modules, 'polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(code != "import tsforge.dynamics")] * 2
