import pytest

from fakecg.abi.errors import UsageError
from fakecg.sched.cost import PRESETS, CostModel, preset


def test_slower_devices_cost_more():
    latencies = [preset(name).swap_read_ns for name in ("instant", "nvme", "ssd", "hdd")]
    assert latencies == sorted(latencies)
    assert latencies[0] == 0
    assert latencies[-1] == 8_000_000


def test_a_readahead_window_is_one_read():
    model = CostModel(swap_read_ns=1000, swap_read_page_ns=10, file_read_ns=500, file_read_page_ns=1)
    assert model.file_in_ns(1) == 500
    assert model.file_in_ns(8) == 507


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_parsed_by_name(name):
    assert CostModel.parse(name) == preset(name)


def test_single_costs_can_be_set():
    model = CostModel.parse("ssd, zswap_load=4us,swap_read=1ms")
    assert (model.zswap_load_ns, model.swap_read_ns) == (4_000, 1_000_000)
    assert model.file_read_ns == preset("ssd").file_read_ns
    assert CostModel.parse("swap_read=80us").swap_read_ns == 80_000
    assert CostModel.parse("") == CostModel()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nvm", "did you mean 'nvme'"),
        ("ssd,zswap_laod=1us", "did you mean 'zswap_load'"),
        ("ssd,hdd", "unknown field 'hdd'"),
        ("touch=fast", "not a duration"),
    ],
)
def test_a_mistake_names_what_is_known(spec, message):
    with pytest.raises(UsageError, match=message):
        CostModel.parse(spec)


def test_costs_are_not_negative():
    with pytest.raises(UsageError, match="touch_ns must not be negative"):
        CostModel(touch_ns=-1)
