from __future__ import annotations

from fakecg.cli import docs


def test_the_page_of_interface_files_is_up_to_date() -> None:
    assert docs.PATH.read_text(encoding="utf-8") == docs.render(), "run python -m fakecg.cli.docs"


def test_every_file_says_what_it_is() -> None:
    for _, rows in docs.tables():
        for row in rows:
            assert row.summary.endswith("."), row.name
            assert row.fidelity in ("exact", "simplified", "zero"), row.name
            assert row.on_root or row.off_root, row.name
            assert row.show or row.write, row.name


def test_no_file_is_declared_twice() -> None:
    names = [row.name for _, rows in docs.tables() for row in rows]
    assert len(names) == len(set(names))


def test_a_condition_names_what_brings_a_file() -> None:
    rows = {row.name: row for _, rows in docs.tables() for row in rows}
    assert docs.condition(rows["cgroup.procs"]) == ""
    assert docs.condition(rows["cgroup.stat.local"]) == "`--profile v7.1` only. "
    assert docs.condition(rows["memory.zswap.proactive_writeback"]) == "`--proactive v1` only. "
