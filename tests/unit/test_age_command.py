"""fakecg age: the control file it asks, and the picture it draws."""

import pytest

from fakecg import Host
from fakecg.abi.errors import InvalidInput, NotEnoughProgress
from fakecg.abi.keyed import parse_flat_keyed
from fakecg.cli.age_command import picture
from fakecg.fs.control import COMMANDS, Control

AGE = next(command for command in COMMANDS if command.name == "age")


@pytest.fixture
def host():
    with Host(ram="1G", swap="1G", seed=3, cost="instant") as host:
        yield host


@pytest.fixture
def ask(host):
    control = Control(host, str)
    return lambda line: parse_flat_keyed(control.run(AGE, line))


def fill(host):
    """Two hours old: 1 MiB in /job. New: 2 MiB."""
    job = host.mkdir("job")
    for size, wait in (("1M", "2h"), ("2M", "0s")):
        host.spawn(job, size=size, content="rec:half")
        with pytest.raises(NotEnoughProgress):
            job["memory.reclaim"] = "16M"
        host.advance(wait)
    return job


def test_the_control_file_takes_durations_and_sizes(host, ask):
    fill(host)
    numbers = ask("/job age=1h max=1M")
    assert numbers["dry_run.age_s"] == 3600
    assert numbers["dry_run.max_bytes"] == 1 << 20
    assert numbers["dry_run.written_entries"] == 256
    assert "dry_run.age_s" not in ask("/job")
    assert "dry_run.max_bytes" not in ask("/ age=60")


@pytest.mark.parametrize("line", ["/job age=0", "/job age=1500ms", "/job max=1M", "/job age=1h max=1K", "/job age=yesterday", "/job raw=1"])
def test_a_wrong_question_is_refused(host, ask, line):
    host.mkdir("job")
    with pytest.raises(InvalidInput, match="age: "):
        ask(line)


def test_the_picture_has_a_bar_for_every_band(host, ask):
    fill(host)
    lines = picture("/job", ask("/job age=1h")).splitlines()
    assert lines[0] == "/job: 768 pages in zswap, 3M compressed to 1.5M; the oldest for 2h"
    assert [line for line in lines if "#" in line] == [
        "  0 to 1m            512        1.0M  " + "#" * 40,
        "  1h to 4h           256      520.5K  " + "#" * 20,
    ]
    assert lines[11:14] == [
        'writing "3600" would write back 256 pages, 520.5K compressed',
        "  old enough: 256 pages, 520.5K compressed",
        "  younger entries moved to the young end on the way: 8192",
    ]
    assert lines[-2].startswith("pool of the machine: ")


def test_the_picture_says_what_would_go_wrong(host, ask):
    job = fill(host)
    job.mkdir("child")
    job["memory.zswap.writeback"] = 0
    text = picture("/job", ask("/job age=1h"))
    assert "would write back 0 pages, 0 compressed and answer EINVAL" in text
    assert "may not write back: 256 pages" in text
    job["memory.zswap.writeback"] = 1
    with pytest.raises(NotEnoughProgress):
        job["memory.zswap.proactive_writeback"] = "max=4K 7210"  # nothing is that old; the 256 oldest go to the young end
    text = picture("/job", ask("/job age=1h max=4K"))
    assert "would write back 0 pages, 0 compressed and answer EAGAIN" in text
    assert "gives up earlier: 1 pages" in text


def test_nothing_in_zswap_is_one_line(host, ask):
    host.mkdir("job")
    assert picture("/job", ask("/job")) == "/job: nothing in zswap\n"
