import json
import os
import re
import shutil
import subprocess
import sys
from datetime import date, datetime, timedelta
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs

import polars as pl
import pytest

from tsforge.errors import ArgumentError
from tsforge.evaluation.report import write_report

NASTY = '</script><b>"bold" & <!-- {x}'
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom",
]


def run(ids=("a", "b"), targets=("t", "rh"), cutoffs=(11, 15), models=("Net", "Naive"), h=4, **changes):
    """The arguments of a small report; every (series, target, cutoff) has its own values."""
    forecasts, context, profile = [], [], []
    for i, unique_id in enumerate(ids):
        for j, target in enumerate(targets):
            level = 100.0 * i + 10 * j
            context += [{"unique_id": unique_id, "ds": n, "target": target, "y": level + n % 4} for n in range(24)]
            profile.append({"unique_id": unique_id, "target": target, "rows": 24, "missing": 0, "first": 0, "last": 23,
                            "min": 0.5, "mean": 12345.6, "max": None, "sd": 0.00123456})
            for cutoff in cutoffs:
                for step in range(1, h + 1):
                    value = level + cutoff + step / 10
                    row = {"unique_id": unique_id, "ds": cutoff + step, "target": target, "cutoff": cutoff, "y": value}
                    for k, model in enumerate(models):
                        row |= {model: value + k, f"{model}-lo-80": value - 1, f"{model}-hi-80": value + 1}
                    forecasts.append(row)
    horizon = [
        {"step": step, "model": model, "metric": metric, "value": 0.1 * step + k}
        for step in range(1, h + 1) for k, model in enumerate(models) for metric in ("mae", "coverage-80")
    ]
    arguments = {
        "title": "A run", "summary": {"model": "Net", "seed": 1, "recipe": "model: {name: net}"},
        "profile": pl.DataFrame(profile),
        "history": [{"step": s, "loss": 1 / s, "val_loss": 2 / s if s % 2 else None, "learning_rate": 1e-3}
                    for s in range(1, 9)],
        "forecasts": pl.DataFrame(forecasts), "context": pl.DataFrame(context),
        "scores": pl.DataFrame({"model": models, "mae": [1.0 + k for k in range(len(models))]}),
        "horizon": pl.DataFrame(horizon),
    }
    return arguments | changes


@pytest.fixture
def write(tmp_path):
    return lambda **arguments: write_report(tmp_path / "report.html", **arguments).read_text()


def embedded(page):
    """The data of a page; strict, for JSON knows no NaN."""
    text = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the data"))


def own(page):
    """The page without plotly's source and our script."""
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.names = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)


# --- the file


def test_the_same_arguments_give_the_same_bytes(write):
    assert write(**run()) == write(**run())
    assert write(**run()) != write(**run(title="Another run"))


def test_a_page_is_there_whole_or_not_at_all(write, tmp_path, monkeypatch):
    before = write(**run())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            write(**run(title="Another run"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == before


def test_a_missing_folder_and_a_folder_as_file_are_named(tmp_path):
    with pytest.raises(ArgumentError, match=r"no folder .*nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", **run())
    with pytest.raises(ArgumentError, match="it is a folder"):
        write_report(tmp_path, **run())


@pytest.mark.parametrize(("name", "column"), [
    ("profile", "missing"), ("forecasts", "cutoff"), ("context", "target"), ("scores", "model"), ("horizon", "step"),
])
def test_a_frame_that_lacks_a_column_is_named(write, name, column):
    arguments = run()
    with pytest.raises(ArgumentError, match=rf"`{name}` .* lacks \['{column}'\]"):
        write(**arguments | {name: arguments[name].drop(column)})


def test_without_plotly_it_says_what_to_install(write, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ArgumentError, match=r"pip install 'tsforge\[report\]'"):
        write(**run())
    assert not list(tmp_path.iterdir())


def test_plotly_is_imported_only_when_a_page_is_written():
    code = "import sys, tsforge.evaluation.report; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- what comes from outside stays text


def test_names_from_outside_make_no_elements(write):
    arguments = run(ids=(NASTY, "b"), targets=(NASTY,), models=(NASTY, "Naive"), title=NASTY,
                    summary={NASTY: NASTY, "recipe": NASTY})
    arguments["horizon"] = arguments["horizon"].with_columns(metric=pl.lit(NASTY))
    arguments["scores"] = arguments["scores"].rename({"mae": NASTY})
    page = write(**arguments)
    plain = Elements(write(**run(targets=("t",)))).names
    assert set(Elements(page).names) <= set(plain)
    assert Elements(page).names.count("script") == plain.count("script") == 3
    assert embedded(page)["plots"][0]["key"][:2] == [NASTY, NASTY]
    # the control: one name left as it is
    assert "b" in Elements(page.replace("&lt;/script&gt;&lt;b&gt;", "</script><b>", 1)).names


def test_the_page_names_no_other_place(write):
    page = own(write(**run()))
    assert "http:" not in page
    assert "https:" not in page
    assert not {"link", "img", "iframe"} & set(Elements(page).names)
    assert not re.search(r"(?:src|href)=(?!\"#)", page)
    assert "default-src 'none'" in page


def test_what_is_missing_or_not_finite_is_a_gap(write):
    arguments = run()
    holes = pl.when(pl.col("ds") == 13).then(float("nan")).when(pl.col("ds") == 14).then(float("inf"))
    arguments["forecasts"] = arguments["forecasts"].with_columns(
        y=pl.when(pl.col("ds") != 13).then("y"), Net=holes.otherwise("Net")
    )
    arguments["history"][0]["loss"] = float("nan")
    data = embedded(write(**arguments))
    plot = data["plots"][0]
    assert [value is None for value in plot["y"]] == [False, True, False, False]
    assert [value is None for value in plot["point"][0]] == [False, True, True, False]
    assert data["learning"]["lines"]["loss"]["y"][0] is None


# --- what is drawn


def test_every_value_drawn_is_the_value_given(write):
    arguments = run()
    data = embedded(write(**arguments))
    assert data["models"] == ["Net", "Naive"]
    assert len(data["plots"]) == 8
    for plot in data["plots"]:
        series, target, cutoff = plot["key"]
        rows = arguments["forecasts"].filter(unique_id=series, target=target, cutoff=int(cutoff))
        assert plot["x"] == rows["ds"].to_list()
        for drawn, column in ((plot["y"], "y"), (plot["point"][1], "Naive"), (plot["lo"][0], "Net-lo-80")):
            assert drawn == pytest.approx(rows[column].to_list())
        seen = arguments["context"].filter(pl.col("ds") <= int(cutoff), unique_id=series, target=target)
        assert plot["past"] == [seen["ds"].to_list(), seen["y"].to_list()]  # nothing after the cutoff


def test_wide_intervals_lie_below_narrow_ones_and_quantiles_are_no_models(write):
    arguments = run(models=("Net",))
    net = pl.col("Net")
    arguments["forecasts"] = arguments["forecasts"].with_columns(
        (net - 9).alias("Net-lo-99.5"), (net + 9).alias("Net-hi-99.5"), net.alias("Net-q-0.1")
    )
    page = write(**arguments)
    assert [band["level"] for band in embedded(page)["bands"]] == ["99.5", "80"]
    assert embedded(page)["models"] == ["Net"]
    assert "Not drawn: Net-q-0.1." in page


@pytest.mark.parametrize(("ids", "cutoffs"), [(300, 4), (3, 400), (40, 40)])
def test_a_long_run_is_drawn_in_part_and_the_page_says_so(write, ids, cutoffs):
    names = [f"s{i:04d}" for i in range(ids)]
    arguments = run(ids=names, cutoffs=range(cutoffs), models=("Net",), h=1)
    page = write(**arguments)
    keys = [tuple(plot["key"]) for plot in embedded(page)["plots"]]
    assert 100 < len(set(keys)) == len(keys) <= 200
    assert f"{len(keys):,} of {2 * ids * cutoffs:,} forecasts can be chosen" in page
    assert {target for _, target, _ in keys} == {"t", "rh"}
    assert {names[0], names[-1]} <= {series for series, _, _ in keys}
    assert {"0", str(cutoffs - 1)} <= {cutoff for *_, cutoff in keys}
    assert len({(series, cutoff) for series, _, cutoff in keys}) == len(keys) / 2  # any choice has both targets


def test_series_that_end_at_different_times_are_each_drawn_at_their_own_cutoffs(write):
    parts = [run(ids=(f"s{i}",), targets=("t",), cutoffs=range(i, i + 4)) for i in range(100)]
    arguments = parts[0] | {key: pl.concat([part[key] for part in parts]) for key in ("forecasts", "context")}
    keys = [plot["key"] for plot in embedded(write(**arguments))["plots"]]
    assert len(keys) == 200
    for series in {key[0] for key in keys}:
        first = int(series[1:])
        assert [int(key[2]) for key in keys if key[0] == series] == list(range(first, first + 4))


def test_a_long_horizon_is_bounded_in_numbers_too(write):
    page = write(**run(ids=[f"s{i}" for i in range(20)], cutoffs=(0, 1), h=2000))
    assert 0 < len(embedded(page)["plots"]) < 80
    assert len(page) < 12_000_000


@pytest.mark.parametrize(("start", "step", "label"), [
    (date(2020, 1, 1), timedelta(days=1), "2020-01-12"),
    (datetime(2020, 1, 1), timedelta(hours=1), "2020-01-01 11:00:00"),
])
def test_times_are_written_as_plotly_reads_them(write, start, step, label):
    time = (pl.col("ds", "cutoff") * step + start).cast(pl.Date if type(start) is date else pl.Datetime)
    arguments = run()
    arguments["forecasts"] = arguments["forecasts"].with_columns(time)
    arguments["context"] = arguments["context"].with_columns(cutoff="ds").with_columns(time)
    data = embedded(write(**arguments))
    assert data["time"] == "date"
    assert data["plots"][0]["cutoff"] == label == data["plots"][0]["past"][0][-1]


def test_one_target_needs_no_target_column_and_several_do(write):
    arguments = run(targets=("t",))
    assert embedded(write(**arguments | {"forecasts": arguments["forecasts"].drop("target")})) == embedded(
        write(**arguments)
    )
    arguments = run()
    with pytest.raises(ArgumentError, match="holds 2 targets"):
        write(**arguments | {"forecasts": arguments["forecasts"].drop("target")})


def test_an_empty_run_says_what_is_not_there(write):
    arguments = run()
    arguments |= {key: arguments[key].clear() for key in ("forecasts", "context", "scores", "horizon", "profile")}
    page = own(write(**arguments | {"history": []}))
    for sentence in ("No training is recorded.", "no forecasts", "Nothing was scored.", "No error by step", "no data"):
        assert sentence in page
    assert 'class="plot"' not in page
    assert "No training is recorded." not in own(write(**run()))


def test_a_long_history_is_thinned_and_keeps_its_ends(write):
    history = [{"step": s, "loss": 1.0, "val_loss": None, "learning_rate": None} for s in range(9_999)]
    page = write(**run(history=history))
    loss = embedded(page)["learning"]["lines"]["loss"]
    assert (loss["x"][0], loss["x"][-1], len(loss["x"])) == (0, 9_998, 2_000)
    assert "Of 9,999 records 2,000 are drawn" in page


# --- tables


def test_the_best_score_is_the_lowest_and_of_coverage_the_nearest(write):
    scores = pl.DataFrame({
        "model": ["A", "B", "C"], "mae": [2.0, 1.0, float("nan")], "coverage-80": [0.99, 0.5, 0.79],
        "smape": [3.0, 3.0, 4.0], "crps": [None, 1.0, None],
    })
    rows = re.findall(r"<tr><th scope=\"row\">(.)</th>(.*?)</tr>", own(write(**run(scores=scores))))
    bold = {model: re.findall(r"<strong>(.*?)</strong>", cells) for model, cells in rows if model in "ABC"}
    assert bold == {"A": ["3.000"], "B": ["1.000", "3.000"], "C": ["0.7900"]}


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (1.2, "1.200"), (-12.345, "−12.35"), (9.99996, "10.00"), (12345.6, "12,350"), (0.0123456, "0.01235"),
    (1.23456e-5, "1.235e−05"), (9_999_999.0, "1.000e+07"), (float("nan"), "–"), (float("-inf"), "−inf"), (None, "–"),
])
def test_numbers_have_four_significant_digits(write, value, text):
    scores = pl.DataFrame({"model": ["A"], "mae": [value]}, schema_overrides={"mae": pl.Float64})
    assert f'<td class="number">{text}</td>' in own(write(**run(scores=scores)))


def test_a_long_profile_is_cut_and_says_of_how_many(write):
    page = write(**run(ids=[f"s{i}" for i in range(150)], cutoffs=(11,), h=1))
    assert "The first 200 of 300 rows are shown." in page
    assert len(re.findall(r'<th scope="row">s\d+</th>', page)) == 200
    assert "<dt>series</dt><dd>150</dd>" in page


# --- in a browser


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """Open a page, after what a probe does to it: (document, what the console said)."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no chromium on this machine: apt-get install chromium")

    def visit(page, probe="", address="", flags=()):
        folder = tmp_path_factory.mktemp("visit")
        head, _, tail = page.rpartition("</body>")
        (folder / "page.html").write_text(f"{head}<script>{probe}</script></body>{tail}")
        command = [chromium, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", f"file://{folder}/page.html{address}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=os.environ)
        return done.stdout, re.findall(r":CONSOLE[:(].*", done.stderr)

    return visit


# What stands in the plots goes to an attribute, which is part of the document that chromium prints.
NOTE = """
const notes = [];
const note = () => notes.push(document.getElementById('forecast-plot').data
  .filter(trace => trace.name !== 'observed' && trace.fill !== 'toself').map(trace => Array.from(trace.y)));
const change = (id, value) => { const select = document.getElementById(id);
  select.value = value; select.dispatchEvent(new Event('change')); };
const report = more => { document.body.dataset.notes = JSON.stringify({notes, ...more}); };
"""


def notes(document):
    return json.loads(unescape(re.search(r'data-notes="(.*?)"', document)[1]))


def values(arguments, series, target, cutoff):
    rows = arguments["forecasts"].filter(unique_id=series, target=target, cutoff=cutoff)
    return [pytest.approx(rows[model].to_list()) for model in ("Net", "Naive")]


def test_choosing_draws_what_was_chosen_and_goes_into_the_address(write, visit):
    arguments = run(ids=("a", last := f"~{NASTY}"))
    other = json.dumps(last).replace("<", "\\u003c")
    document, said = visit(write(**arguments), NOTE + f"""
        note(); change('choose-series', {other}); note(); change('choose-cutoff', '15'); note();
        change('choose-target', 't'); note();
        const error = () => document.getElementById('horizon-plot').layout.yaxis.title.text;
        const before = error(); change('choose-metric', '1');
        report({{address: location.hash, errors: [before, error()]}});
    """)
    assert said == []
    seen = notes(document)
    wanted = [("a", "rh", 11), (last, "rh", 11), (last, "rh", 15), (last, "t", 15)]
    assert seen["notes"] == [values(arguments, *key) for key in wanted]
    assert parse_qs(seen["address"][1:]) == {"series": [last], "target": ["t"], "cutoff": ["15"]}
    assert seen["errors"] == ["mae", "coverage-80"]
    assert len(re.findall(r'class="main-svg"[^>]*>(?=<defs)', document)) >= 3
    assert re.findall(r'<div id="([a-z]+)-plot" class="plot js-plotly-plot"', document) == [
        "learning", "forecast", "horizon"
    ]


def test_an_address_opens_its_view_and_no_button_sends_data_away(write, visit):
    arguments = run()
    document, said = visit(write(**arguments), NOTE + "note(); report()", "#series=b&target=t&cutoff=15")
    assert said == []
    assert notes(document)["notes"] == [values(arguments, "b", "t", 15)]
    assert "modebar-btn" in document
    assert not re.search(r'data-title="[^"]*(?:[Ss]hare|[Cc]loud|Studio)', document)


def test_an_error_or_a_fetch_would_be_seen(write, visit):
    _, said = visit(write(**run()), "fetch('https://example.org/'); undefinedFunction();")
    assert any("undefinedFunction is not defined" in line for line in said)
    assert any("Content Security Policy" in line for line in said)


PICTURES = """
const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = text => { const [r, g, b] = rgb(text).map(v => v / 255).map(v =>
  v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const paper = getComputedStyle(document.body).backgroundColor;
const look = () => [...document.querySelectorAll('svg[role=img]')].map(svg => ({
  section: svg.closest('section').id, words: svg.getAttribute('aria-label'),
  title: svg.querySelector('title').textContent,
  letters: 12 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width,
  right: svg.getBoundingClientRect().right,
  text: contrast(getComputedStyle(svg.querySelector('text')).fill, paper),
  marks: [...svg.querySelectorAll('g[style]')].map(g => contrast(getComputedStyle(g).color, paper)),
}));
const plots = [...document.querySelectorAll('.plot')].map(plot =>
  [plot.getAttribute('role'), plot.getAttribute('aria-label')]);
"""


def wrong(cutoffs):
    """A report whose forecasts are wrong by noise, so that errors have an autocorrelation."""
    arguments = run(cutoffs=cutoffs)
    table = arguments["forecasts"]
    shift = pl.Series([0.3 * ((7 * k) % 11 - 5) for k in range(len(table))])
    arguments["forecasts"] = table.with_columns(Net=pl.col("Net") + shift, Naive=pl.col("Naive") - shift.reverse())
    return arguments


def test_what_forecasts_and_errors_say_stands_in_the_page(write):
    page = own(write(**wrong(range(4, 20))))
    ids = re.findall(r'<section id="([a-z-]+)"', page)
    assert ids == ["run", "profile", "learning", "forecasts", "horizon", "calibration", "residuals", "scores"]
    arguments = wrong(range(4, 20))
    banded = [name for name in arguments["forecasts"].columns if "-lo-" in name or "-hi-" in name]
    plain = own(write(**arguments | {"forecasts": arguments["forecasts"].drop(banded)}))
    assert "residuals" in plain
    assert 'id="calibration"' not in plain
    unseen = own(write(**arguments | {"forecasts": arguments["forecasts"].with_columns(y=pl.lit(None, pl.Float64))}))
    assert 'id="calibration"' not in unseen
    assert 'id="residuals"' not in unseen


def test_errors_by_series_begin_with_the_series_that_is_hardest(write):
    names = [f"s{k:02d}" for k in range(60)]
    errors = pl.DataFrame([
        {"unique_id": name, "target": "t", "model": model, "metric": "mae", "value": factor * k}
        for k, name in enumerate(names) for model, factor in (("Net", 1.0), ("Naive", 2.0))
    ])
    page = own(write(**run(by_series=errors)))
    section = page.partition('<section id="by-series"')[2].partition("</section>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', section) == names[:9:-1]
    assert "The first 50 of 60 rows are shown." in section
    assert '<td class="number"><strong>59.00</strong></td><td class="number">118.0</td>' in section
    assert 'id="by-series"' not in own(write(**run()))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pictures_are_readable_on_a_phone_in_the_light_and_in_the_dark(write, visit, dark):
    probe = PICTURES + """setTimeout(() => {
        const pictures = look();
        const planted = document.querySelector('svg[role=img]');  // the control: wide, and of the ink of a light page
        planted.setAttribute('viewBox', '0 0 620 260'); planted.setAttribute('width', 620);
        planted.querySelector('text').setAttribute('fill', '#1b1f24');
        parent.postMessage({screen: innerWidth, plots, pictures, planted: look()[0]}, '*');
    }, 300)"""
    page = write(**wrong(range(4, 20))).replace("</body>", f"<script>{probe}</script></body>")
    shell = """<body><iframe style="width: 375px; height: 3000px; border: 0" srcdoc="PAGE"></iframe>
        <script>onmessage = event => document.body.dataset.notes = JSON.stringify(event.data)</script></body>"""
    flags = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    document, said = visit(shell.replace("PAGE", escape(page)), flags=flags)
    assert said == []
    seen = notes(document)
    assert seen["screen"] == 375
    assert [picture["section"] for picture in seen["pictures"]] == ["calibration"] * 2 + ["residuals"] * 2
    for picture in seen["pictures"]:
        assert picture["title"]
        assert len(picture["words"]) > 40
        assert picture["letters"] >= 11
        assert picture["right"] <= 375
        assert picture["text"] > 7
        assert min(picture["marks"]) > 2.5
    assert seen["planted"]["letters"] < 8
    assert (seen["planted"]["text"] < 2) is dark
    assert len(seen["plots"]) == 3
    for role, words in seen["plots"]:
        assert role == "img"
        assert len(words) > 40


def test_on_a_narrow_screen_nothing_sticks_out(write, visit):
    probe = """setTimeout(() => {
        const width = () => document.documentElement.scrollWidth, widths = [innerWidth, width()];
        document.querySelector('h1').style.width = '500px';  // the control
        parent.postMessage([...widths, width()], '*');
    }, 500)"""
    page = write(**run(summary={"a long word": "w" * 300, "recipe": "w" * 300})).replace(
        "</body>", f"<script>{probe}</script></body>"
    )
    shell = """<body><iframe style="width: 400px; height: 3000px; border: 0" srcdoc="PAGE"></iframe>
        <script>onmessage = event => document.body.dataset.notes = JSON.stringify(event.data)</script></body>"""
    document, said = visit(shell.replace("PAGE", escape(page)))
    assert said == []
    screen, width, stretched = notes(document)
    assert width <= screen == 400 < stretched
