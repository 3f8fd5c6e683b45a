"""Every file and every key: how true it is, and which kernel it came with.

Nothing is listed here by hand but what no row can say: the keys of memory.reclaim, and what Linux has and this emulator does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from fakecg.abi import since
from fakecg.abi.profile import DEFAULT_PROFILE, PROACTIVE_VERSIONS, PROFILES, Features
from fakecg.abi.stat import memory_stat_rows
from fakecg.cgroup.cftype import ControlFile
from fakecg.cgroup.controllers import standard_controllers
from fakecg.cgroup.core_files import BASE_FILES
from fakecg.cgroup.hierarchy import SUBSYS_ORDER
from fakecg.mm.memory_files import MEMORY_FILES
from fakecg.mm.swap_files import SWAP_FILES
from fakecg.mm.system_files import SYSTEM_FILES
from fakecg.mm.vmstat_files import VMSTAT, is_modelled, vmstat_keys
from fakecg.mm.zswap_files import ZSWAP_FILES

#: exact: as the recorded kernel; simplified: its format and rules, a simpler model's numbers; zero: there, and nothing comes of it.
STATES = ("exact", "simplified", "zero", "absent")

_ABSENT = (
    ("core", "irq.pressure", "Only in kernels that account interrupt time; the recorded one does not."),
    ("memory", "memory.swap.tiers", "A proposal of its own."),
    ("io", "io.latency", "Not in the recorded kernel's configuration."),
    ("io", "io.bfq.weight", "Not in the recorded kernel's configuration."),
    ("io", "io.prio.class", "Not in the recorded kernel's configuration."),
    ("cpu", "cpu.uclamp.min, cpu.uclamp.max", "Not in the recorded kernel's configuration."),
    ("dmem", "dmem.*", "A controller of 6.14 and later."),
)
#: Keys whose numbers come from less than the kernel's do.
_SIMPLIFIED_KEYS = {"kernel": "zswap's compressed bytes; no stacks, page tables or slab."}


@dataclass(frozen=True, slots=True)
class Feature:
    """One file or key.

    Attributes:
        group: ``core``, a controller, ``machine``, or the file whose key it is.
        state: one of STATES.
        since: kernel or version of the proposal; empty for before 5.19 or unknown.
        note: one sentence, or nothing.
    """

    group: str
    name: str
    state: str
    since: str
    note: str


def file_tables() -> Iterator[tuple[str, Sequence[ControlFile]]]:
    """Rows of the core and of each controller, in the kernel's order."""
    yield "core", BASE_FILES
    controllers = {controller.name: controller.files for controller in standard_controllers()}
    controllers["memory"] = (*MEMORY_FILES, *SWAP_FILES, *ZSWAP_FILES)
    for name in SUBSYS_ORDER:
        if controllers.get(name):
            yield name, controllers[name]


def condition(has: Callable[[Features], bool]) -> str:
    """Which options of a mount bring something that not all have; empty if all do."""
    profiles = [name for name in PROFILES if has(Features.select(name, "none"))]
    if len(profiles) == len(PROFILES):
        return ""
    if profiles:
        return f"--profile {', '.join(profiles)}"
    versions = [version for version in PROACTIVE_VERSIONS if has(Features.select(DEFAULT_PROFILE, version))]
    return f"--proactive {', '.join(versions)}"


def _everything() -> list[Features]:
    words = ("none", *PROACTIVE_VERSIONS)
    return [Features.select(profile, word) for profile in PROFILES for word in words]


def _merged(lists: Sequence[Sequence[str]]) -> list[str]:
    """The words of several lists, each after the word it follows in the first list that has it."""
    merged = list(lists[0])
    for words in lists[1:]:
        for index, word in enumerate(words):
            if word not in merged:
                merged.insert(merged.index(words[index - 1]) + 1 if index else 0, word)
    return merged


def _stat_keys(features: Features) -> Iterator[Feature]:
    rows = {row.key: row for each in _everything() for row in memory_stat_rows(each)}

    def keys_of(each: Features) -> list[str]:
        return [row.key for row in memory_stat_rows(each)]

    shown = set(keys_of(features))
    for key in _merged([keys_of(each) for each in (features, *_everything())]):
        note = _SIMPLIFIED_KEYS.get(key, "")
        state = "zero" if not rows[key].is_modelled else "simplified" if note else "exact"
        if key not in shown:
            state, note = "absent", f"with {condition(lambda each, key=key: key in keys_of(each))}"  # type: ignore[misc]
        yield Feature("memory.stat", key, state, since.STAT_KEYS.get(key, ""), note)


def _vmstat_keys(features: Features) -> Iterator[Feature]:
    in_stat = {row.key for each in _everything() for row in memory_stat_rows(each)}
    shown = set(vmstat_keys(features))
    for key in _merged([vmstat_keys(each) for each in (features, *_everything())]):
        state, note = "zero" if not is_modelled(key) else "exact" if key in in_stat else VMSTAT.fidelity, ""
        if key not in shown:
            state, note = "absent", f"with {condition(lambda each, key=key: key in vmstat_keys(each))}"  # type: ignore[misc]
        yield Feature("proc/vmstat", key, state, since.VMSTAT_KEYS.get(key, ""), note)


def _reclaim_keys(features: Features) -> Iterator[Feature]:
    versions = {
        "swappiness=": True,
        "swappiness=max": features.profile.has_swappiness_max or bool(features.proactive & {"v2", "v3", "v4", "v5"}),
        "zswap_writeback_only": bool(features.proactive & {"v2", "v3", "v4"}),
        "source=zswap": "v5" in features.proactive,
    }
    needs = {"swappiness=max": "--profile v7.1", "zswap_writeback_only": "--proactive v2, v3, v4", "source=zswap": "--proactive v5"}
    for key, there in versions.items():
        note = "" if there else f"with {needs[key]}"
        yield Feature("memory.reclaim", key, "exact" if there else "absent", since.RECLAIM_KEYS[key], note)


def feature_list(features: Features) -> list[Feature]:
    """All features, in the order of the files; those of other profiles and versions are ``absent``."""
    found = []
    for group, rows in (*file_tables(), ("machine", tuple(SYSTEM_FILES.values()))):
        for row in rows:
            if row.needs is None or row.needs(features):
                found.append(Feature(group, row.name, row.fidelity, since.FILES.get(row.name, ""), row.summary))
            else:
                found.append(Feature(group, row.name, "absent", since.FILES.get(row.name, ""), f"with {condition(row.needs)}"))
        found += [Feature(group, name, "absent", "", note) for where, name, note in _ABSENT if where == group]
    tables = {group for group, _ in file_tables()}
    found += [Feature(group, name, "absent", "", note) for group, name, note in _ABSENT if group not in tables]
    found += _reclaim_keys(features)
    found += _stat_keys(features)
    found += _vmstat_keys(features)
    return found


def report(features: Features, state: str = "") -> str:
    """The list as a table; ``state`` picks one of STATES."""
    profile = features.profile
    versions = ", ".join(sorted(features.proactive)) or "none"
    lines = [f"profile {profile.name} (from {profile.verified}), proactive {versions}"]
    chosen = [feature for feature in feature_list(features) if not state or feature.state == state]
    for group, members in groupby(chosen, key=lambda feature: feature.group):
        rows = list(members)
        width = max(len(feature.name) for feature in rows)
        lines += ["", group]
        lines += [f"  {each.name:{width}}  {each.state:10}  {each.since:11}  {each.note}".rstrip() for each in rows]
    return "\n".join(lines) + "\n"
