"""Bundled scenarios on a real host."""

import pytest

from fakecg import Host, UsageError
from fakecg.observe.check import check
from fakecg.workload.scenario import bundled, load, parse
from fakecg.workload.stage import stage


def staged(scenario):
    refusals = []
    host = Host(**dict(scenario.host))
    stage(scenario, host, refusals.append)
    return host, refusals


@pytest.mark.parametrize("name", [name for name in bundled() if name != "thrash"])
def test_a_bundled_scenario_runs_for_a_while(name):
    host, refusals = staged(load(name))
    with host:
        host.advance("35s")
        assert host.tasks()
        assert host.internal_errors == 0
        assert refusals == []
        check(host)
        host.verify()


def test_thrash_stalls_about_half_of_the_time():
    host, _ = staged(load("thrash"))
    with host:
        host.advance("1s")
        before = stall_us(host)
        host.advance("3s")
        assert (stall_us(host) - before) / 3e6 == pytest.approx(0.5, abs=0.1)


def stall_us(host):
    return int(host.group("/thrash")["memory.pressure"].split("total=")[1].split()[0])


def test_tiering_writes_while_time_passes():
    host, refusals = staged(load("tiering"))
    with host:
        host.advance("3m")
        assert host.group("/app").stat["zswpout"] > 0
        assert refusals == []


def test_a_job_starts_after_its_delay():
    host, _ = staged(
        parse('[[cgroup]]\npath = "/a"\n[[job]]\ncgroup = "/a"\nstart = "10s"\nregion = [{ name = "heap", size = "1M" }]\n', "x.toml")
    )
    with host:
        host.advance("9s")
        assert host.group("/a").stat["anon"] == 0
        host.advance("1s")
        assert host.group("/a").stat["anon"] == 1 << 20


def test_a_later_write_that_is_refused_is_told():
    host, refusals = staged(
        parse('[[cgroup]]\npath = "/a"\n[[write]]\nat = "1s"\ncgroup = "/a"\nfile = "memory.max"\nvalue = "lots"\n', "x.toml")
    )
    with host:
        host.advance("2s")
    assert len(refusals) == 1
    assert "/a/memory.max = 'lots': EINVAL" in refusals[0]


@pytest.mark.parametrize(("file", "message"), [("memory.nax", "ENOENT"), ("memory.current", "EINVAL"), ("memory.max", "EINVAL")])
def test_a_value_that_a_file_refuses_is_a_mistake(file, message):
    scenario = parse(f'[[cgroup]]\npath = "/a"\nfiles = {{ "{file}" = "lots" }}\n', "x.toml")
    with Host() as host, pytest.raises(UsageError, match=rf"scenario x: /a/{file} = 'lots': {message}"):
        stage(scenario, host, lambda text: None)
