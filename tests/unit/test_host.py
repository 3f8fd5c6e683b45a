"""The Python API beyond files of one cgroup: nodes, files of the machine, signals, and errors as Python has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakecg import Host, ManualClock, UsageError
from fakecg.sched.task import Change, ThreadExited, ThreadInfo
from fakecg.workload import scenario


def anon_by_node(text: str) -> dict[str, int]:
    """The line of memory.numa_stat for anonymous memory."""
    line = next(line for line in text.splitlines() if line.startswith("anon "))
    return {node: int(size) for node, size in (word.split("=") for word in line.split()[1:])}


def test_a_task_gets_its_memory_from_the_node_it_asks_for() -> None:
    with Host(ram="1G", nodes=2) as host:
        job = host.mkdir("job")
        host.spawn(job, size="4M", node=1)
        assert anon_by_node(job["memory.numa_stat"]) == {"N0": 0, "N1": 4 << 20}
        host.spawn(job, size="2M")
        assert anon_by_node(job["memory.numa_stat"]) == {"N0": 2 << 20, "N1": 4 << 20}
        for node in (2, -1):
            with pytest.raises(UsageError, match="0 to 1"):
                host.spawn(job, size="4M", node=node)


def test_a_job_of_a_scenario_may_name_its_node() -> None:
    text = '[[cgroup]]\npath = "/a"\n[[job]]\ncgroup = "/a"\nnode = {}\n[[job.region]]\nname = "heap"\nsize = "1M"\n'
    assert scenario.parse(text.format(3), "x.toml").jobs[0].spec.node == 3
    with pytest.raises(UsageError, match="node"):
        scenario.parse(text.format(-1), "x.toml")


def test_a_scenario_may_have_several_swap_devices() -> None:
    loaded = scenario.parse('[host]\nram = "1G"\nswap = ["64M,prio=10,device=nvme", "128M", "0"]\n', "x.toml")
    with Host(**loaded.host) as host:
        assert [(device.nr_slots, device.priority) for device in host.machine.swap.devices] == [(16384, 10), (32768, -2)]
    with pytest.raises(UsageError, match="swap: --swap 64M,prio=x"):
        scenario.parse('[host]\nswap = "64M,prio=x"\n', "x.toml")


def test_two_devices_cannot_have_one_file(tmp_path: Path) -> None:
    file = tmp_path / "swap"
    with pytest.raises(UsageError, match="another swap device has it"):
        Host(ram="1G", swap=[f"16M,file={file}", f"16M,file={file}"])
    with Host(ram="1G", swap="16M", swap_file=str(file)) as host:
        assert host.machine.swap.devices[0].name == str(file)
    with Host(ram="1G", swap=f"16M,file={file}"):
        pass  # the first one has let go of it
    with pytest.raises(UsageError, match="not a regular file"):
        Host(ram="1G", swap="16M", swap_file="/dev/null")


def test_files_of_the_machine_are_read_and_written_by_path() -> None:
    with Host(ram="1G") as host:
        assert host.read_system("proc/meminfo").startswith("MemTotal:        1048576 kB\n")
        host.write_system("proc/sys/vm/swappiness", 100)
        assert host.read_system("proc/sys/vm/swappiness") == "100\n"
        with pytest.raises(OSError, match="swappiness"):
            host.write_system("proc/sys/vm/swappiness", b"201")
        with pytest.raises(KeyError):
            host.read_system("proc/nothing")


def test_vmstat_is_a_table_of_numbers() -> None:
    with Host(ram="1G") as host:
        job = host.mkdir("job")
        host.spawn(job, size="4M")
        job["memory.reclaim"] = "1M"
        assert host.vmstat["zswpout"] == job.stat["zswpout"] > 0


def test_a_write_that_meets_a_signal_keeps_what_it_did() -> None:
    with Host(ram="1G") as host:
        job = host.mkdir("job")
        host.spawn(job, size="64M")
        looks = iter((False, False, True))
        with pytest.raises(InterruptedError):
            job.write("memory.reclaim", "32M", interrupted=lambda: next(looks))
        assert 0 < job.stat["zswapped"] < 32 << 20
        assert host.verify() == (64 << 20) // 4096


def test_errors_are_those_that_a_mounted_file_raises() -> None:
    with Host(ram="1G") as host:
        job = host.mkdir("job")
        with pytest.raises(BlockingIOError):
            job["memory.reclaim"] = "1M"
        with pytest.raises(FileNotFoundError):
            host.group("nowhere")
        with pytest.raises(FileNotFoundError):
            job["memory.nothing"]
        with pytest.raises(FileExistsError):
            host.mkdir("job")
        with pytest.raises(ProcessLookupError):
            job["cgroup.procs"] = "4194304"
        with pytest.raises(OSError, match="EINVAL"):
            job["memory.max"] = "much"


class OneProcess:
    """A source of real tasks with one process, which dies of nothing before the test lets it."""

    PID = 1000

    def __init__(self) -> None:
        self.killed: list[int] = []
        self.has_ended = False

    def find(self, tid: int) -> ThreadInfo | None:
        return ThreadInfo(tid, tid, "server") if tid == self.PID else None

    def threads(self, tgid: int) -> list[ThreadInfo]:
        return [ThreadInfo(tgid, tgid, "server")]

    def follow(self, tgid: int) -> None:
        pass

    def changes(self) -> list[Change]:
        return [ThreadExited(self.PID)] if self.has_ended else []

    def kill(self, tgid: int) -> None:
        self.killed.append(tgid)

    def freeze(self, tgid: int, frozen: bool) -> None:
        pass


def test_the_memory_of_a_real_process_is_free_before_the_process_has_noticed_that_it_was_killed() -> None:
    source = OneProcess()
    with Host(ram="1G", swap=0, task_source=source) as host:
        job = host.mkdir("job")
        job["memory.max"] = "8M"
        host.spawn(job, size="16M", pid=OneProcess.PID)
        assert source.killed == [OneProcess.PID]
        assert job["memory.current"] == "0"
        assert job.events["oom_kill"] == 1
        assert job["cgroup.procs"] == str(OneProcess.PID)
        source.has_ended = True
        assert job["cgroup.procs"] == ""


def test_the_memory_of_a_real_process_ends_with_it() -> None:
    source = OneProcess()
    with Host(ram="1G", task_source=source) as host:
        job = host.mkdir("job")
        host.spawn(job, size="16M", pid=OneProcess.PID)
        assert job["memory.current"] == str(16 << 20)
        source.has_ended = True
        assert job["cgroup.procs"] == ""
        assert job["memory.current"] == "0"
        assert host.tasks() == []
        assert source.killed == []


def test_verify_lets_others_in_and_bears_that_a_task_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with Host(ram="64M") as host:
        host.mkdir("job")
        tasks = [host.spawn("/job", size="8M") for _ in range(2)]

        def others_come_in() -> None:
            if tasks:
                with host.lock.released():
                    host.kill(tasks.pop().pid)

        monkeypatch.setattr(host.lock, "cond_resched", others_come_in)
        # A batch of the first one had been looked at when the last was killed, and another one when the first was.
        assert host.verify() == 512


def test_more_memory_than_an_address_space_has_is_refused() -> None:
    with pytest.raises(UsageError, match="no address space"):
        Host(ram="1E")


def test_a_file_name_that_is_not_text_is_no_file() -> None:
    with Host(ram="64M") as host, pytest.raises(FileNotFoundError):
        host.root["\udcff"]


def test_a_closed_host_takes_no_more_calls() -> None:
    host = Host(ram=16 << 20, clock=ManualClock())
    job = host.mkdir("/job")
    host.close()
    host.close()
    for call in (
        lambda: host.mkdir("/other"),
        lambda: host.spawn(job, size="1M"),
        lambda: job["memory.current"],
        lambda: host.advance("1s"),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
