from __future__ import annotations

from fakecg.abi import keyed


def test_flat_keyed_keeps_the_order() -> None:
    assert keyed.flat_keyed([("b", 1), ("a", "max")]) == "b 1\na max\n"
    assert keyed.flat_keyed({}) == ""


def test_nested_keyed() -> None:
    assert keyed.nested_keyed([("8:0", [("rbytes", 1), ("wbytes", 2)]), ("8:16", [])]) == "8:0 rbytes=1 wbytes=2\n8:16\n"


def test_flat_keyed_is_read_back() -> None:
    assert keyed.parse_flat_keyed("low 0\nhigh 12\n") == {"low": 0, "high": 12}
    assert keyed.parse_flat_keyed("max max\n") == {"max": -1}


def test_no_names_print_nothing() -> None:
    assert keyed.names([]) == ""
    assert keyed.names(["cpu", "io"]) == "cpu io\n"


def test_counter_or_max() -> None:
    assert keyed.counter_or_max(5, 5) == "max\n"
    assert keyed.counter_or_max(4, 5) == "4\n"
