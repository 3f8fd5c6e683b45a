"""docs/workloads.md names every word there is, and its scenario is one."""

import re
from dataclasses import fields
from pathlib import Path

from fakecg.sched.cost import PRESETS, CostModel
from fakecg.workload.content import KINDS
from fakecg.workload.pattern import PATTERNS
from fakecg.workload.recorded import RECORDED_KINDS
from fakecg.workload.scenario import HOST_OPTIONS, bundled, parse

PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text()


def test_every_word_is_on_the_page():
    words = [*KINDS, *(f"rec:{kind}" for kind in RECORDED_KINDS), *PATTERNS, *PRESETS, *bundled()]
    words += [column.name.removesuffix("_ns") for column in fields(CostModel)]
    assert [word for word in words if f"`{word}" not in PAGE] == []
    (options,) = re.findall(r"which wins: (.*)", PAGE)
    assert options.split() == [*HOST_OPTIONS, "zswap"]


def test_the_scenario_on_the_page_is_valid():
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    scenario = parse(text, "page.toml")
    assert [job.spec.name for job in scenario.jobs] == ["service", "batch"]
