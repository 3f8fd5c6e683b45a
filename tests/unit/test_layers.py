"""Imports point downwards only, and the core stays free of what would make it depend on the machine it runs on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "fakecg"

#: Layer of each part of the package; a part imports parts of lower layers and itself.
LAYERS = {
    "version": 0,
    "abi": 0,
    "sched": 1,
    "cgroup": 2,
    "mm": 3,
    "workload": 4,
    "live": 4,
    "observe": 6,
    "fs": 6,
    "cli": 7,
    "pytest_plugin": 7,
    "__init__": 8,
    "__main__": 8,
}
#: Other modules directly in the package make up the host.
HOST_LAYER = 5
CORE = {"abi", "sched", "cgroup", "mm", "workload"}
#: Other modules directly in the package make up the host.
HOST_LAYER = 5
#: What the core must not import, with the modules that are there for it.
BANNED_IN_CORE = {"threading", "asyncio", "multiprocessing", "subprocess", "logging", "fuse", "mfusepy"}
CLOCKS = {"time"}
CLOCK_MODULE = "fakecg.sched.clock"
FUSE = {"fuse", "mfusepy"}
FUSE_MODULES = {"fakecg.fs.fusepy_binding", "fakecg.fs.mount"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """``mm`` for fakecg.mm.zswap, ``host`` for the modules of the host, ``__init__`` for fakecg itself and its names."""
    name = module.split(".")[1] if "." in module else "__init__"
    if name in LAYERS:
        return name
    return "host" if (PACKAGE / f"{name}.py").exists() else "__init__"


def layer_of(part: str) -> int:
    return LAYERS.get(part, HOST_LAYER)


def name_of(path: Path) -> str:
    pieces = ("fakecg", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" and len(pieces) > 2 else pieces)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules a file imports, and whether only for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for_types.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((f"{node.module}.{alias.name}", node in for_types) for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_downwards(path: Path) -> None:
    module = name_of(path)
    part = part_of(module)
    for imported, for_types in imports(path):
        if imported.split(".")[0] != "fakecg" or for_types:
            continue
        other = part_of(imported)
        assert other == part or layer_of(other) < layer_of(part), f"{module} imports {imported}, which is not below it"


@pytest.mark.parametrize("path", [path for path in modules() if part_of(name_of(path)) in CORE], ids=name_of)
def test_the_core_does_not_depend_on_the_machine(path: Path) -> None:
    module = name_of(path)
    names = {imported.split(".")[0] for imported, for_types in imports(path) if not for_types}
    assert not names & BANNED_IN_CORE, module
    assert module == CLOCK_MODULE or not names & CLOCKS, module
    source = path.read_text(encoding="utf-8")
    for call in ("random.random(", "random.choice", "random.randint(", "random.seed(", "random.shuffle("):
        assert call not in source.replace("self.random", ""), f"{module} uses the global {call}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_the_binding_imports_fuse(path: Path) -> None:
    module = name_of(path)
    names = {imported.split(".")[0] for imported, _ in imports(path)}
    assert module in FUSE_MODULES or not names & FUSE, module


def test_modules_are_of_a_size_to_be_read() -> None:
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 500, f"{name_of(path)}: {lines} lines"
