"""The list of files and keys."""

import contextlib

import pytest

from fakecg import Host
from fakecg.abi import since
from fakecg.abi.profile import PROACTIVE_VERSIONS, PROFILES, Features
from fakecg.abi.stat import memory_stat_rows
from fakecg.cli.main import main
from fakecg.feature_list import STATES, feature_list, file_tables
from fakecg.mm.system_files import SYSTEM_FILES
from fakecg.mm.vmstat_files import vmstat_keys

SELECTIONS = [(profile, versions) for profile in PROFILES for versions in ("none", *PROACTIVE_VERSIONS, "v1,v5")]


def by_group(features):
    groups = {}
    for feature in feature_list(features):
        groups.setdefault(feature.group, {})[feature.name] = feature
    return groups


@pytest.mark.parametrize(("profile", "versions"), SELECTIONS)
def test_what_a_selection_has_is_listed_and_the_rest_is_absent(profile, versions):
    features = Features.select(profile, versions)
    groups = by_group(features)
    rows = [(group, row) for group, rows in file_tables() for row in rows] + [("machine", row) for row in SYSTEM_FILES.values()]
    for group, row in rows:
        there = row.needs is None or row.needs(features)
        assert (groups[group][row.name].state != "absent") == there, row.name
    stat = groups["memory.stat"]
    assert [key for key in stat if stat[key].state != "absent"] == [row.key for row in memory_stat_rows(features)]
    vmstat = groups["proc/vmstat"]
    assert [key for key in vmstat if vmstat[key].state != "absent"] == vmstat_keys(features)
    assert {feature.state for members in groups.values() for feature in members.values()} <= set(STATES)


def test_what_is_absent_says_how_to_get_it():
    groups = by_group(Features.select("v6.12", "none"))
    assert groups["memory.stat"]["pswpin"].note == "with --profile v7.1"
    assert groups["memory.stat"]["zswpwb_proactive_b"].note == "with --proactive v4, v5"
    assert groups["memory"]["memory.zswap.proactive_writeback"].note == "with --proactive v1"
    assert groups["core"]["cgroup.stat.local"].note == "with --profile v7.1"
    assert groups["memory.reclaim"]["source=zswap"].state == "absent"
    assert by_group(Features.select("v6.12", "v5"))["memory.reclaim"]["source=zswap"].state == "exact"


def test_every_version_named_belongs_to_something():
    groups = by_group(Features.select())
    files = {name for group, members in groups.items() if group not in ("memory.stat", "proc/vmstat", "memory.reclaim") for name in members}
    assert set(since.FILES) <= files
    assert set(since.STAT_KEYS) <= set(groups["memory.stat"])
    assert set(since.VMSTAT_KEYS) <= set(groups["proc/vmstat"])
    assert set(since.RECLAIM_KEYS) == set(groups["memory.reclaim"])


def busy_host():
    """Everything that a small machine can be made to do."""
    host = Host(ram="128M", swap="512M", seed=5, profile="v7.1", proactive="v1,v5", cost="hdd", zswap={"max_pool_percent": 5})
    job = host.mkdir("job")
    job["memory.max"] = "48M"
    host.spawn(job, size="64M", content="mix:text=0.6,zero=0.2,random=0.2", access="hotcold:0.3,5k/s,write=0.3", cache="16M")
    host.spawn(host.mkdir("other"), size="100M", access="zipf:1.1,5k/s", cache="32M")
    host.advance("20s")
    for name, value in (("zswap.proactive_writeback", "max=1M 1"), ("reclaim", "8M"), ("reclaim", "256K source=zswap"), ("reclaim", "1M")):
        with contextlib.suppress(OSError):
            job[f"memory.{name}"] = value
    host.advance("2s")
    return host


def test_what_is_called_zero_reads_zero_and_the_rest_counts():
    with busy_host() as host:
        groups = by_group(host.features)
        seen = host.group("job").stat
        system = host.root.stat
        counted = {key for key in seen if seen[key] or system[key]}
        zero = {key for key, feature in groups["memory.stat"].items() if feature.state == "zero"}
        assert not counted & zero
        never = {key for key, feature in groups["memory.stat"].items() if feature.state in ("exact", "simplified")} - counted
        # Nobody here reads a file twice or writes to one.
        assert {key for key in never if "file" not in key} <= {"zswap_incomp", "workingset_restore_anon"}


def test_the_command_prints_the_list(capsys):
    assert main(["features", "--state", "simplified"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("profile v6.12 (from recording), proactive v1, v5\n")
    assert "pids.max" in out
    assert "memory.max" not in out
    assert main(["features", "--profile", "v8"]) == 2
    assert main(["features", "--state", "perfect"]) == 2
