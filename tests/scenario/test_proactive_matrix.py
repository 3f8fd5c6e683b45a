"""Every recorded write to the interfaces of the proactive-writeback proposal, by context, and where else an interface shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from proactive import FILES, NUMA_FILES, PoolMachine, recording, result_of
from rows import Rows

from fakecg.abi.errors import InvalidInput
from fakecg.cgroup.hierarchy import ROOT_CALLER
from fakecg.cgroup.kernfs import name_hash

#: Contexts without entries; those with entries are in test_proactive_calls.
CONTEXTS = [
    (file, context) for file in FILES for context in recording(file)["matrix"] if not context.startswith(("cgroup with", "with entries"))
]
#: The recordings are a part of what was written. These inputs (text, or length) came after ordinary reclaims, which had stored 1M in zswap.
RECLAIM_BEFORE = {
    ("proactive_v2.json", "root cgroup", "1M zswap_writeback_only\xa0"),
    ("proactive_v2.json", "root cgroup", 1023),
}
#: The recorded kernels of this file were built without NUMA balancing, the modelled one is with it.
NUMA_BALANCING = {"pgpromote_success", "numa_pages_migrated", "numa_pte_updates", "numa_hint_faults"}


def data_of(case: dict[str, Any], key: str) -> bytes:
    """The bytes written. Of long ones the recording has the two ends; between them a word, or the first end's last character, repeats."""
    if "in" in case:
        return str(case["in"]).encode("latin-1")
    head, tail, length = case["in_head"], case["in_tail"], case["len"]
    for word in (key, "max=1M"):
        for first in ("", "1M "):
            text = (first + f"{word} " * length)[: length - 1] + tail[-1]
            if text.startswith(head) and text.endswith(tail):
                return text.encode()
    if tail.strip() and key.endswith(tail.strip()):
        tail = key
    return (head + head[-1] * (length - len(head) - len(tail)) + tail).encode()


def _enter(machine: PoolMachine, context: str) -> tuple[str, str]:
    """Bring about a context; returns the cgroup and the file that are written."""
    group = "/D/s"
    machine.host.mkdir(group)
    if context == "root cgroup":
        group = "/"
    if "zswap disabled" in context:
        machine.set_zswap("enabled", "N")
    if "writeback=0 in the cgroup" in context:
        machine.write(group, "memory.zswap.writeback", "0")
    if "writeback=0 in the parent" in context:
        machine.write("/D", "memory.zswap.writeback", "0")
    return group, "memory.zswap.proactive_writeback" if machine.version == "v1" else "memory.reclaim"


@pytest.mark.parametrize(("file", "context"), CONTEXTS)
def test_results_of_writes(file: str, context: str, rows: Rows) -> None:
    entry = recording(file)["matrix"][context]
    cases = entry["cases"] if isinstance(entry, dict) else entry
    key = recording(file).get("key", "")
    uptime_s = float(entry["uptime"].split()[0]) if "uptime" in entry else 40.0
    with PoolMachine(FILES[file], uptime_s=uptime_s) as machine:
        group, name = _enter(machine, context)
        for number, case in enumerate(cases):
            if (file, context, case.get("in", case.get("len"))) in RECLAIM_BEFORE:
                machine.hog(group, 256).pageout()
            data = data_of(case, key)
            if group == "/" and "ret" in case and key.encode() not in data.partition(b"\0")[0]:
                # An ordinary reclaim: here is what it can take.
                machine.host.spawn(group, size="1M")
            result = machine.write(group, name, data)
            rows.check(f"{context} {number} {case.get('in', '...')!r}", result, result_of(case))


@pytest.mark.parametrize("file", FILES)
def test_where_the_interface_shows(file: str, rows: Rows) -> None:
    inventory = recording(file)["inventory"]
    name = "memory.zswap.proactive_writeback" if FILES[file] == "v1" else "memory.reclaim"
    with PoolMachine(FILES[file]) as machine:
        host = machine.host
        host.mkdir("/D/s")
        cgroup = host.lookup("/D/s")
        names = sorted((row.name for row in cgroup.files()), key=lambda each: name_hash(each.encode()))
        stat = host.read(cgroup, "memory.stat")
        open_file = host.open_file(cgroup, name.encode(), ROOT_CALLER)
        with pytest.raises(InvalidInput):
            host.show(open_file)
        root_stat = host.read(host.lookup("/"), "memory.stat").splitlines()
        actual = {
            "mode": f"0o{0o100000 | cgroup.lookup_node(name.encode()).mode:o}",
            "exists_in_root": name in {row.name for row in host.lookup("/").files()},
            "listdir": names,
            "open_rdonly": {"read_errno": "EINVAL"},
            "memory.stat_fresh": "".join(line for line in stat.splitlines(keepends=True) if line.split()[0] not in NUMA_BALANCING),
            "root_has_counter": [line for line in root_stat if line.startswith(("zswpwb", machine.counter))],
            "numa_stat_has_counter": "proactive" in host.read(cgroup, "memory.numa_stat"),
            "vmstat_zsw_lines": [line for line in machine.system_file("proc/vmstat").splitlines() if line.startswith("zsw")],
        }
        # Who may open a file is decided by its owner and mode.
        node = cgroup.lookup_node(name.encode())
        actual["uid1000_open"] = {"open_errno": "EACCES"} if node.uid == node.gid == 0 and not node.mode & 0o002 else {}
        assert inventory.keys() - actual.keys() <= {"counter_after"}
        for key in actual.keys() & inventory.keys():
            rows.check(f"inventory {key}", {key: actual[key]}, {key: inventory[key]})
        if "counter_after" in inventory:
            lines = stat.splitlines()
            before = [lines[lines.index(f"{machine.counter} 0") - 1]]
            rows.check("inventory counter_after", {"before": before}, {"before": inventory["counter_after"]})
        if "root_write" in recording(file):
            rows.check("root_write", machine.write("/", name, "1"), {"errno": recording(file)["root_write"]["open_errno"]})


@pytest.mark.parametrize("file", [*FILES, *NUMA_FILES])
def test_every_recorded_scenario_is_replayed(file: str) -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_proactive_*.py"))
    for name in recording(file)["scenarios"]:
        assert f'"{name}"' in sources, f"{file}: {name} is not replayed"
