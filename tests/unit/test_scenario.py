"""Scenario files: what they say, and that every mistake in one is told with its place."""

import errno

import pytest

from fakecg.abi.errors import InvalidInput, NotEnoughProgress, UsageError
from fakecg.sched.clock import NSEC_PER_SEC, ManualClock
from fakecg.sched.timer import TimerQueue, advance_to
from fakecg.workload.scenario import bundled, load, parse
from fakecg.workload.stage import stage

FULL = """
description = "all there is"

[host]
ram = "1G"
swap = 1073741824
nodes = 2
seed = 7
profile = "v6.12"
proactive = "v1"
cost = "ssd,zswap_load=4us"
zswap = { max_pool_percent = 30, shrinker_enabled = "Y" }

[[cgroup]]
path = "/a/b"
files = { "memory.max" = "64M", "memory.low" = 4096 }

[[job]]
name = "worker"
cgroup = "/a/b"
start = "1m"
count = 3
repeat = true
oom_score_adj = -1000
cache = "1M"

  [[job.region]]
  name = "heap"
  size = "8M"
  content = "half"

  [[job.region]]
  name = "spare"
  size = "4097"
  populate = false

  [[job.phase]]
  duration = "30s"

    [[job.phase.touch]]
    region = "heap"
    pattern = "zipf"
    exponent = 1.1
    rate = "20k/s"
    write = 0.25

  [[job.phase]]
  duration = 5

[[write]]
at = "1h"
every = "10m"
cgroup = "/a/b"
file = "memory.reclaim"
value = "32M"
"""


def mistakes(text):
    with pytest.raises(UsageError) as caught:
        parse(text, "web.toml")
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_everything_a_scenario_can_say():
    scenario = parse(FULL, "dir/all.toml")
    assert (scenario.name, scenario.description) == ("all", "all there is")
    assert scenario.host == {
        "ram": "1G",
        "swap": 1 << 30,
        "nodes": 2,
        "seed": 7,
        "profile": "v6.12",
        "proactive": "v1",
        "cost": "ssd,zswap_load=4us",
        "zswap": {"max_pool_percent": "30", "shrinker_enabled": "Y"},
    }
    assert [(cgroup.path, cgroup.files) for cgroup in scenario.cgroups] == [("/a/b", (("memory.max", "64M"), ("memory.low", "4096")))]
    (job,) = scenario.jobs
    assert (job.cgroup, job.start_ns, job.count, job.oom_score_adj) == ("/a/b", 60 * NSEC_PER_SEC, 3, -1000)
    assert (job.spec.name, job.spec.repeat, job.spec.cache_pages) == ("worker", True, 256)
    assert [(region.name, region.nr_pages, region.content.spec, region.populate) for region in job.spec.regions] == [
        ("heap", 2048, "half", True),
        ("spare", 2, "text", False),
    ]
    assert [phase.duration_ns for phase in job.spec.phases] == [30 * NSEC_PER_SEC, 5 * NSEC_PER_SEC]
    ((region, access),) = job.spec.phases[0].accesses
    assert (region, access.pattern, access.exponent, access.rate, access.write) == ("heap", "zipf", 1.1, 20_000, 0.25)
    (write,) = scenario.writes
    assert (write.at_ns, write.every_ns) == (3600 * NSEC_PER_SEC, 600 * NSEC_PER_SEC)
    assert (write.cgroup, write.file, write.value) == ("/a/b", "memory.reclaim", "32M")


def test_an_empty_scenario_is_a_bare_machine():
    scenario = parse("", "x.toml")
    assert (scenario.host, scenario.cgroups, scenario.jobs, scenario.writes) == ({}, (), (), ())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('pattern = "zipf"', 'pattern = "zip"', "job[0].phase[0].touch[0].pattern: unknown pattern 'zip' (did you mean 'zipf'? known: "),
        (
            'region = "heap"',
            'region = "hep"',
            "job[0].phase[0].touch[0].region: unknown region 'hep' (did you mean 'heap'? known: heap, spare)",
        ),
        ("exponent = 1.1", "", "job[0].phase[0].touch[0].exponent: missing"),
        ("exponent = 1.1", "exponent = 0", "job[0].phase[0].touch[0].exponent: exponent '0': not above 0"),
        ("exponent = 1.1", "exponent = 1\nheat = 0.5", "job[0].phase[0].touch[0].heat: unknown key"),
        ('rate = "20k/s"', 'rate = "often"', "job[0].phase[0].touch[0].rate: not a rate: 'often'"),
        ("write = 0.25", "write = 2", "job[0].phase[0].touch[0].write: not a number of 0..1: 2"),
        ('duration = "30s"', 'duration = "soon"', "job[0].phase[0].duration: not a duration: 'soon'"),
        ('duration = "30s"', "duration = 0", "job[0].phase[0].duration: not above 0: 0"),
        ('duration = "30s"', "", "job[0].phase: job worker: only the last phase"),
        ('duration = "30s"', "durration = 1", "job[0].phase[0].durration: unknown key (did you mean 'duration'?"),
        ('size = "8M"', 'size = "8MB"', "job[0].region[0].size: not a size: '8MB'"),
        ('size = "8M"', "", "job[0].region[0].size: missing"),
        ('content = "half"', 'content = "hlaf"', "job[0].region[0].content: unknown content 'hlaf' (did you mean 'half'?"),
        ('name = "spare"', 'name = "heap"', "job[0].region: job worker: two regions of one name"),
        ("populate = false", 'populate = "no"', "job[0].region[1].populate: not true or false: 'no'"),
        ("count = 3", "count = 0", "job[0].count: not a whole number of 1..10000: 0"),
        ("count = 3", "counts = 3", "job[0].counts: unknown key (did you mean 'count'?"),
        (
            'name = "worker"\ncgroup = "/a/b"',
            'cgroup = "/a/c"',
            "job[0].cgroup: no such cgroup '/a/c' (did you mean '/a/b'? known: /a, /a/b)",
        ),
        ('name = "worker"\ncgroup = "/a/b"', 'cgroup = "/a"', "job[0].cgroup: /a has child cgroups"),
        ('path = "/a/b"', 'path = "a/b"', "cgroup[0].path: not a path of a cgroup: 'a/b'"),
        ('path = "/a/b"', 'path = "/a/../b"', "cgroup[0].path: not a path of a cgroup"),
        ('"memory.low" = 4096', '"memory.low" = true', "cgroup[0].files.memory.low: not a text or a whole number: True"),
        ('at = "1h"', 'at = "later"', "write[0].at: not a duration: 'later'"),
        ('file = "memory.reclaim"', "", "write[0].file: missing"),
        ('every = "10m"', 'every = "0s"', "write[0].every: not above 0"),
        ('ram = "1G"', 'ram = "lots"', "host.ram: not a size: 'lots'"),
        ('ram = "1G"', "rom = 1", "host.rom: unknown key (did you mean 'ram'?"),
        ("nodes = 2", "nodes = 0", "host.nodes: not a whole number of 1..64: 0"),
        ("nodes = 2", 'nodes = "2"', "host.nodes: not a whole number of 1..64: '2'"),
        ('profile = "v6.12"', 'profile = "v1.0"', "host.profile: unknown profile 'v1.0'"),
        ('proactive = "v1"', 'proactive = "v9"', "host.proactive: unknown interface version 'v9'"),
        ('cost = "ssd,zswap_load=4us"', 'cost = "sdd"', "host.cost: cost model: unknown preset 'sdd' (did you mean 'ssd'?"),
        ("[host]", "[hots]", "hots: unknown key (did you mean 'host'?"),
        ("[[write]]", "[write]", "write: not an array of tables: write [[write]]"),
    ],
)
def test_a_mistake_is_told_with_its_place(old, new, message):
    assert FULL.count(old) >= 1
    first, *_ = mistakes(FULL.replace(old, new, 1))
    assert first.startswith("web.toml: " + message)


def test_all_mistakes_are_told_together():
    text = FULL.replace('"8M"', '"8MB"').replace("count = 3", "count = 0").replace('at = "1h"', "at = -1").replace("nodes = 2", "nodse = 2")
    assert [line.split(": ")[1] for line in mistakes(text)] == ["host.nodse", "job[0].region[0].size", "job[0].count", "write[0].at"]


def test_broken_toml_is_told_with_its_line():
    (line,) = mistakes('description = "x"\nram = = 3\n')
    assert line.startswith("web.toml: ")
    assert "line 2" in line


def test_one_path_twice_is_a_mistake():
    assert mistakes('[[cgroup]]\npath = "/a"\n[[cgroup]]\npath = "/a"\n') == ["web.toml: cgroup[1].path: /a is there twice"]


def test_a_table_where_a_list_is_wanted_is_a_mistake():
    assert mistakes("job = [1]")[0] == "web.toml: job[0]: not a table"


def test_bundled_scenarios_are_valid_and_described():
    scenarios = bundled()
    assert {"quickstart", "web", "thrash", "stairs", "tenants", "tiering"} <= set(scenarios)
    assert all(scenarios.values())


def test_a_scenario_is_found_by_name_or_path(tmp_path):
    assert load("quickstart").name == "quickstart"
    path = tmp_path / "mine.toml"
    path.write_text(FULL)
    assert load(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("name", "message"), [("quikstart", "did you mean 'quickstart'"), ("/no/such.toml", "No such file"), ("none.toml", "No such file")]
)
def test_a_scenario_that_is_not_there(name, message):
    with pytest.raises(UsageError, match=message):
        load(name)


def test_a_scenario_file_that_is_not_text(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="utf-8"):
        load(str(path))


# Setting up


class FakeHost:
    def __init__(self):
        self.clock, self.timers = ManualClock(0), TimerQueue()
        self.log = []
        self.refuse = {}

    def mkdir(self, path):
        self._do("mkdir", path)

    def write_file(self, path, name, data):
        self._do("write", f"{path}/{name}", data)

    def write_file_steps(self, path, name, data):
        yield
        self._do("write", f"{path}/{name}", data)

    def spawn_job(self, path, spec, *, delay_ns=0, oom_score_adj=0):
        self._do("spawn", path, spec.name, delay_ns, oom_score_adj)

    def _do(self, *what):
        self.log.append((self.clock.now_ns() // NSEC_PER_SEC, *what))
        if what[1] in self.refuse:
            raise self.refuse[what[1]]

    def advance(self, seconds):
        for _ in advance_to(self.clock, self.timers, self.clock.now_ns() + seconds * NSEC_PER_SEC):
            pass


def test_a_scenario_is_set_up_in_order_and_written_to_later():
    host, refusals = FakeHost(), []
    stage(parse(FULL, "all.toml"), host, refusals.append)
    spawn = (0, "spawn", "/a/b", "worker", 60 * NSEC_PER_SEC, -1000)
    assert host.log == [
        (0, "mkdir", "/a"),
        (0, "mkdir", "/a/b"),
        (0, "write", "/a/b/memory.max", b"64M"),
        (0, "write", "/a/b/memory.low", b"4096"),
        spawn,
        spawn,
        spawn,
    ]
    host.log.clear()
    host.advance(3 * 3600)
    assert host.log == [(3600 + 600 * number, "write", "/a/b/memory.reclaim", b"32M") for number in range(13)]
    assert refusals == []


def test_a_refused_later_write_is_told_and_the_next_one_tried():
    host, refusals = FakeHost(), []
    stage(parse(FULL, "all.toml"), host, refusals.append)
    host.refuse["/a/b/memory.reclaim"] = NotEnoughProgress("nothing left")
    host.advance(2 * 3600)
    assert len(refusals) == 7
    assert refusals[0] == "/a/b/memory.reclaim = '32M': EAGAIN: nothing left"


def test_a_refused_limit_is_a_mistake_of_the_scenario():
    host = FakeHost()
    host.refuse["/a/b/memory.max"] = InvalidInput("not a size")
    with pytest.raises(UsageError, match=r"scenario all: /a/b/memory.max = '64M': EINVAL: not a size"):
        stage(parse(FULL, "all.toml"), host, lambda text: None)
    assert host.refuse["/a/b/memory.max"].errno == errno.EINVAL
