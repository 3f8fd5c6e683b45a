"""Recordings as text."""

import pytest

from fakecg import UsageError
from fakecg.observe.recorder import Column, Recording
from fakecg.observe.report import age_picture, chart, human, select, squeeze, summary, to_csv


@pytest.fixture
def recording():
    columns = [
        Column("memory.current", "B"),
        Column("memory.stat.zswpout", "", True),
        Column("memory.stat.sock", "B"),
        Column("zswap.age.0", "B"),
        Column("zswap.age.60", "B"),
        Column("zswap.age.3600", "B"),
    ]
    recording = Recording(columns=columns)
    for step in range(11):
        recording.rows.append((60.0 + step, "/job", [1024.0 * step, 100.0 * step, 0.0, 0.0, 1000.0 * step, 50.0 * step]))
        recording.rows.append((60.0 + step, "/", [None, 5.0, 0.0, 0.0, 0.0, 0.0]))
    return recording


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0"),
        (1023, "B", "1023"),
        (1024, "B", "1K"),
        (1536, "B", "1.5K"),
        (5 << 40, "B", "5T"),
        (5 << 50, "B", "5120T"),
        (1_500_000, "us", "1.500s"),
        (12.345, "%", "12.35%"),
        (7, "", "7"),
        (7.25, "", "7.25"),
    ],
)
def test_numbers_for_people(value, unit, text):
    assert human(value, unit) == text


def test_a_summary_shows_states_by_size_and_events_by_growth(recording):
    lines = [line.split() for line in summary(recording, ["memory.*"]).splitlines()]
    assert lines == [
        ["/job"],
        ["least", "mean", "most", "last"],
        ["memory.current", "0", "5K", "10K", "10K"],
        ["memory.stat.zswpout", "100/s", "+1000", "1000"],
        [],
        ["/"],
        ["least", "mean", "most", "last"],
        ["memory.stat.zswpout", "0/s", "+0", "5"],
    ]


def test_a_pattern_without_a_column_is_a_mistake(recording):
    assert [column.name for column in select(recording, ["memory.stat.*"])] == ["memory.stat.zswpout", "memory.stat.sock"]
    with pytest.raises(UsageError, match=r"no column matches 'memory.curent'"):
        select(recording, ["memory.curent"])


def test_a_chart_goes_from_the_least_to_the_most(recording):
    title, bars, legend = chart(recording, "/job", "memory.current").splitlines()
    assert title == "/job memory.current"
    assert (bars[0], bars[-1], len(bars)) == ("▁", "█", 11)
    assert legend == "60s to 70s, 0 to 10K"


def test_a_chart_of_an_event_shows_its_growth(recording):
    _, bars, legend = chart(recording, "/job", "memory.stat.zswpout").splitlines()
    assert set(bars) == {"▁"}
    assert legend.endswith("100 to 100 a sample")


def test_a_chart_of_nothing_says_so(recording):
    assert chart(recording, "/", "memory.current") == "/ memory.current: nothing recorded\n"


def test_a_long_series_is_squeezed_by_means():
    assert squeeze([1, 2, 3], 5) == [1, 2, 3]
    assert squeeze([0, 2, 4, 6, 8, 10], 3) == [1, 5, 9]
    cells = squeeze(range(1000), 72)
    assert len(cells) == 72
    assert cells == sorted(cells)


def test_ages_are_drawn_oldest_on_top_in_tenths_of_the_most(recording):
    title, *bands, legend = age_picture(recording, "/job").splitlines()
    assert title == "/job zswap by age"
    assert [band.split() for band in bands] == [["≥1h", ".0000000000"], ["≥1m", ".1234567899"], ["≥0s", "..........."]]
    assert legend.strip() == "60s to 70s; 9 is 8.8K to 9.8K"


def test_an_empty_zswap_says_so(recording):
    assert age_picture(recording, "/") == "/: nothing in zswap\n"


def test_csv_has_a_row_per_cgroup_and_sample_with_empty_gaps(recording):
    lines = to_csv(recording, ["memory.current"]).splitlines()
    assert lines[:3] == ["time_s,cgroup,memory.current", "60.000,/job,0.0", "60.000,/,"]
    assert len(lines) == 23
