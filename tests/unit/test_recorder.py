"""Recordings: columns follow from the files, samples from the clock, and a file holds all of it."""

import json

import pytest

from fakecg import Host, UsageError
from fakecg.abi.profile import Features
from fakecg.mm.age_report import AGE_BANDS_S, age_histogram, older_than
from fakecg.observe.recorder import Column, Recorder, Recording, describe, numbers_of
from fakecg.sched.clock import NSEC_PER_SEC


@pytest.fixture
def host():
    with Host(ram="256M", swap="128M", seed=3) as host:
        yield host


def record(host, paths, *, columns=("memory.current",), steps=3, interval="10s", **options):
    recorder = Recorder(host, paths, columns=columns, interval=interval, **options)
    recorder.start()
    for _ in range(steps):
        host.advance(interval)
    return recorder.stop()


def test_a_sample_is_taken_at_the_start_and_every_interval(host):
    host.mkdir("job")
    recording = record(host, ["/job"])
    start_s = recording.rows[0][0]
    assert [(when_s - start_s, path) for when_s, path, _ in recording.rows] == [(0, "/job"), (10, "/job"), (20, "/job"), (30, "/job")]
    assert recording.columns == [Column("memory.current", "B")]


def test_samples_are_what_the_files_read(host):
    job = host.mkdir("job")
    host.spawn(job, size="1M")
    recording = record(host, ["/job"], columns=["memory.current", "memory.stat.anon", "memory.max"], steps=0)
    assert [value for _, value in recording.series("/job", "memory.current")] == [int(job["memory.current"])]
    assert [value for _, value in recording.series("/job", "memory.stat.anon")] == [job.stat["anon"]]
    assert recording.series("/job", "memory.max") == [], "max is not a number"


def test_default_columns_are_states_events_pressure_and_ages(host):
    host.mkdir("job")
    recorder = Recorder(host, ["/job"])
    recorder.start()
    names = [column.name for column in recorder.stop().columns]
    assert len(names) == len(set(names))
    for name in ("memory.current", "memory.stat.anon", "memory.stat.zswpwb", "memory.events.oom_kill", "memory.swap.events.max"):
        assert name in names
    for name in ("memory.pressure.some.avg10", "memory.pressure.full.total", "zswap.age.0", "zswap.age.3600", "memory.zswap.current"):
        assert name in names
    assert not any(name.startswith(("memory.numa_stat", "memory.max", "cgroup.")) for name in names)


def test_nothing_is_sampled_after_the_end(host):
    host.mkdir("job")
    recorder = Recorder(host, ["/job"])
    recorder.start()
    nr_timers = len(host.timers)
    recorder.stop()
    assert len(host.timers) == nr_timers - 1
    host.advance("1h")
    assert len(recorder.recording.rows) == 1


def test_a_cgroup_has_rows_while_it_exists(host):
    recorder = Recorder(host, ["/job"], columns=["memory.current"], interval="1s")
    recorder.start()
    host.advance("2s")
    job = host.mkdir("job")
    host.advance("2s")
    job.rmdir()
    host.advance("2s")
    assert len(recorder.stop().rows) == 2


def test_a_file_that_a_cgroup_lacks_is_a_gap(host):
    host.mkdir("job")
    recording = record(host, ["/", "/job"], columns=["memory.stat.anon", "memory.current"], steps=0)
    assert recording.paths == ["/", "/job"]
    assert recording.series("/", "memory.current") == []
    assert len(recording.series("/job", "memory.current")) == 1
    assert all(len(values) == 2 for _, _, values in recording.rows)


def test_hidden_pressure_files_are_gaps(host):
    job = host.mkdir("job")
    job["cgroup.pressure"] = "0"
    assert record(host, ["/job"], columns=["memory.pressure.*", "memory.current"], steps=0).columns == [Column("memory.current", "B")]


@pytest.mark.parametrize(
    ("name", "unit", "is_event"),
    [
        ("memory.current", "B", False),
        ("memory.stat.anon", "B", False),
        ("memory.stat.zswapped", "B", False),
        ("memory.stat.zswpout", "", True),
        ("memory.stat.workingset_refault_anon", "", True),
        ("memory.events.high", "", True),
        ("memory.swap.events.fail", "", True),
        ("memory.pressure.some.avg10", "%", False),
        ("memory.pressure.full.total", "us", True),
        ("memory.zswap.writeback", "", False),
        ("zswap.age.60", "B", False),
    ],
)
def test_units_follow_from_the_stat_table(name, unit, is_event):
    assert describe(name, Features.select()) == Column(name, unit, is_event)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096\n", [("f", 4096)]),
        ("max\n", [("f", None)]),
        ("low 0\nhigh 3\n", [("f.low", 0), ("f.high", 3)]),
        (
            "some avg10=1.50 total=7\nfull avg10=0.00 total=0\n",
            [("f.some.avg10", 1.5), ("f.some.total", 7), ("f.full.avg10", 0), ("f.full.total", 0)],
        ),
        ("", []),
    ],
)
def test_three_shapes_of_text_are_understood(text, expected):
    assert list(numbers_of("f", text)) == expected


def test_a_recording_says_what_made_it(host):
    host.mkdir("job")
    recording = record(host, ["/job"], about={"scenario": "quickstart"})
    assert recording.about == {"profile": "v6.12", "proactive": "v1,v5", "seed": 3, "interval_s": 10.0, "scenario": "quickstart"}


def test_a_saved_recording_is_loaded_as_it_was(host, tmp_path):
    host.mkdir("job")
    recording = record(host, ["/", "/job"], columns=["memory.current", "memory.pressure.*"])
    recording.save(tmp_path / "run.jsonl")
    assert Recording.load(tmp_path / "run.jsonl") == recording


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: not a recording"),
        ("{}\n", "line 1: not a recording"),
        ("[]\n", "line 1: not a recording"),
        ('{"format": "fakecg recording 1", "columns": [{"name": "a"}]}\n[1, "/", [1, 2]]\n', "line 2: not a recording"),
        ('{"format": "fakecg recording 1", "columns": [{"nam": "a"}]}\n', "line 1: not a recording"),
        ('{"format": "fakecg recording 1", "columns": []}\nnonsense\n', "line 2: not a recording"),
    ],
)
def test_what_is_not_a_recording_is_refused(tmp_path, text, message):
    path = tmp_path / "bad"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        Recording.load(path)


def test_a_recording_that_is_not_there():
    with pytest.raises(UsageError, match="No such file"):
        Recording.load("/no/such/recording")


def test_an_unknown_column_is_refused(host):
    with pytest.raises(UsageError, match=r"no column 'memory.curent'"):
        Recording().series("/", "memory.curent")


def test_an_interval_is_above_zero(host):
    with pytest.raises(UsageError, match="not an interval"):
        Recorder(host, ["/"], interval=0)


def test_the_file_is_one_json_value_a_line(host, tmp_path):
    host.mkdir("job")
    record(host, ["/job"]).save(tmp_path / "run")
    header, *rows = [json.loads(line) for line in (tmp_path / "run").read_text().splitlines()]
    assert header["columns"] == [{"name": "memory.current", "unit": "B", "is_event": False}]
    assert len(rows) == 4


# Ages


def histogram(host, group):
    with host.lock:
        return {band.age_s: (band.nr_entries, band.nr_bytes) for band in age_histogram(group.cgroup, host.clock.now_ns())}


def test_zswap_is_counted_by_age_in_the_whole_subtree(host):
    # parent            2 h later: all of the child's entries are at least 1 h old,
    #   child: 4 MiB    those of the parent's other child are new
    #   other: 4 MiB
    parent = host.mkdir("parent")
    child, other = parent.mkdir("child"), parent.mkdir("other")
    host.spawn(child, size="4M", content="rec:half")
    child["memory.reclaim"] = "2M"
    host.advance("2h")
    host.spawn(other, size="4M", content="rec:half")
    other["memory.reclaim"] = "1M"
    old, new = child.stat["zswapped"] // 4096, other.stat["zswapped"] // 4096
    assert old
    assert new
    expected = dict.fromkeys(AGE_BANDS_S, (0, 0))
    expected[3600] = (old, child.stat["zswap"])
    expected[0] = (new, other.stat["zswap"])
    assert histogram(host, parent) == expected
    with host.lock:
        assert older_than(parent.cgroup, 3600 * NSEC_PER_SEC, host.clock.now_ns()) == expected[3600]
        assert older_than(other.cgroup, 3600 * NSEC_PER_SEC, host.clock.now_ns()) == (0, 0)


def test_an_empty_cgroup_has_no_ages(host):
    assert set(histogram(host, host.mkdir("job")).values()) == {(0, 0)}
