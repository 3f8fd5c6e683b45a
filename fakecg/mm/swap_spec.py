"""How swap devices are asked for: ``8G``, or ``1G,prio=10,device=nvme,file=/path``, several of them for several devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fakecg.abi.errors import UsageError
from fakecg.abi.units import PAGE_SIZE, parse_size
from fakecg.mm.swapfile import SwapDevice
from fakecg.sched.cost import CostModel

#: Priority of the first device that names none; each further one gets one less. Source: swapfile.c:least_priority.
_FIRST_PRIORITY = -2
_MAX_PRIORITY = 32767


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapSpec:
    """One device as asked for.

    Attributes:
        nr_slots: its size; 0 for no device.
        priority: 0..32767; None for one below all others so far.
        cost: its latencies; None for the machine's.
        path: its file; None for one without a name.
    """

    nr_slots: int
    priority: int | None = None
    cost: CostModel | None = None
    path: str | None = None

    @classmethod
    def parse(cls, spec: str | int) -> SwapSpec:
        """Read ``SIZE[,prio=N][,device=COST][,file=PATH]``; COST as for CostModel.parse, with ``+`` for its commas.

        Raises:
            UsageError: it makes no sense.
        """
        size, *options = str(spec).split(",")
        priority, cost, path = None, None, None
        try:
            nr_slots = parse_size(size) // PAGE_SIZE
            for option in options:
                key, _, value = option.partition("=")
                if key == "file" and value:
                    path = value
                elif key == "prio" and value.lstrip("-").isdigit() and -1 <= int(value) <= _MAX_PRIORITY:
                    priority = None if int(value) < 0 else int(value)
                elif key == "device":
                    cost = CostModel.parse(value.replace("+", ","))
                else:
                    raise UsageError(f"not an option: {option!r} (known: prio=-1..{_MAX_PRIORITY}, device=MODEL, file=PATH)")
        except UsageError as error:
            raise UsageError(f"--swap {spec}: {error}") from None
        return cls(nr_slots=nr_slots, priority=priority, cost=cost, path=path)


def open_devices(specs: Sequence[str | int], default_cost: CostModel, swap_file: str | None = None) -> list[SwapDevice]:
    """Open the devices, in order; those of size 0 are left out.

    Args:
        specs: as SwapSpec.parse.
        swap_file: path for the first device.

    Raises:
        UsageError: a spec that makes no sense, or a file that cannot be used.
    """
    devices: list[SwapDevice] = []
    next_priority = _FIRST_PRIORITY
    first_slot = 1
    try:
        for number, spec in enumerate(map(SwapSpec.parse, specs)):
            if not spec.nr_slots:
                continue
            priority = spec.priority
            if priority is None:
                priority, next_priority = next_priority, next_priority - 1
            path = spec.path or (swap_file if number == 0 else None)
            cost = spec.cost or default_cost
            devices.append(SwapDevice(path, spec.nr_slots, priority=priority, first_slot=first_slot, cost=cost, number=len(devices)))
            first_slot += spec.nr_slots
    except UsageError:
        for device in devices:
            device.close()
        raise
    return devices
