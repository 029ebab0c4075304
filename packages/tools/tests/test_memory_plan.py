from __future__ import annotations

from typing import Any

import pytest

from edge_glass.tools.patch.devices.memory_plan import Need, parse_devices, plan
from edge_glass.tools.patch.devices.sizes import GIB, parameters_of, size_of


@pytest.mark.parametrize(
    ("model_id", "count"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("somebody/qwen2.5-7b-instruct", 7_615_616_512),
        ("meta-llama/Llama-3.1-8B", 8_000_000_000),
        ("x/model-0.5b-chat", 500_000_000),
        ("x/pythia-410m", 410_000_000),
        ("openai/clip-vit-base-patch32", None),
        ("x/v2b-model", None),
    ],
)
def test_parameter_counts(model_id: str, count: int | None) -> None:
    assert parameters_of(model_id) == count


def test_a_class_may_take_a_part_of_a_checkpoint() -> None:
    whole = parameters_of("openai/clip-vit-large-patch14-336")
    part = parameters_of("openai/clip-vit-large-patch14-336", "CLIPVisionModel")
    assert (whole, part) == (427_944_193, 303_507_456)


def test_largest_first_to_the_roomiest() -> None:
    devices = parse_devices("cuda:0,cuda:1", "24GiB,16GiB")
    needs = [
        Need(name="small", size=2 * GIB),
        Need(name="large", size=15 * GIB),
        Need(name="unknown", size=None),
    ]
    placed = plan(needs, devices)
    # usable: 19.2 and 12.8 GiB; after `large` the second has more room
    found = {name: placement.device for name, placement in placed.items()}
    assert found == {"large": "cuda:0", "small": "cuda:1", "unknown": "cuda:1"}


def test_a_mapped_model_leaves_the_main_device_to_the_moved_ones() -> None:
    devices = parse_devices("cuda:0,cuda:1", "24GiB")
    moved = Need(name="encoder", size=None)
    mapped = Need(name="decoder", size=15 * GIB, mapped=True)
    both = {name: each.device for name, each in plan([moved, mapped], devices).items()}
    assert both == {"encoder": "cuda:0", "decoder": "cuda:1"}
    assert plan([mapped], devices)["decoder"].device == "cuda:0"


def test_an_unknown_decoder_has_a_device_to_itself() -> None:
    needs = [Need(name="a", size=None), Need(name="lm", size=None, assumed=GIB)]
    placed = plan(needs, parse_devices("cuda:0,cuda:1", "24GiB"))
    assert {name: each.device for name, each in placed.items()} == {"a": "cuda:1", "lm": "cuda:0"}


@pytest.mark.parametrize(
    ("options", "size", "words"),
    [
        ({"dtype": "4bit"}, 4_264_745_246, "7.62B parameters (known for Qwen/Qwen2.5-7B-Instruct) "
         "× 0.56 bytes (4bit)"),
        ({"wrapper": True}, 15_231_233_024, "× 2 bytes (16 bit, assumed)"),
        ({"wrapper": True, "lora": True}, 15_840_482_344, "+ LoRA: 0.5% of them × 16 bytes"),
        ({"given": "3GiB"}, 3 * GIB, "3GiB given by --size"),
        ({"given": "1B"}, 4 * 10**9, "1.00B parameters (given by --size) × 4 bytes"),
    ],
)  # fmt: skip
def test_sizes_and_where_they_come_from(options: dict[str, Any], size: int, words: str) -> None:
    defaults = {"dtype": None, "lora": False, "wrapper": False, "given": None}
    found = size_of("Qwen/Qwen2.5-7B-Instruct", "QwenDecoder", **(defaults | options))
    assert found.bytes is not None
    assert abs(found.bytes - size) <= 1
    assert words in found.reason


def test_what_fits_on_none_is_spread_within_the_free_memory() -> None:
    devices = parse_devices("cuda:0,cuda:1", "10GiB")
    placed = plan([Need(name="big", size=14 * GIB, spreadable=True)], devices)["big"]
    assert placed.max_memory == ((0, "8192MiB"), (1, "8192MiB"))


@pytest.mark.parametrize(("size", "spreadable"), [(17 * GIB, True), (9 * GIB, False)])
def test_what_does_not_fit_goes_to_the_cpu(size: int, spreadable: bool) -> None:
    devices = parse_devices("cuda:0,cuda:1", "10GiB")
    placed = plan([Need(name="big", size=size, spreadable=spreadable)], devices)["big"]
    assert (placed.device, placed.spread) == ("cpu", False)
    assert "more than the" in placed.reason


def test_without_an_accelerator_all_is_on_the_cpu() -> None:
    placed = plan([Need(name="a", size=1)], parse_devices("cpu", "1GiB"))
    assert placed["a"].device == "cpu"


@pytest.mark.parametrize(
    ("names", "memory", "message"),
    [
        ("gpu0", "1GiB", "'gpu0' is unknown"),
        ("cuda", "1GiB", "'cuda' is unknown"),
        ("cuda:0,cuda:0", "1GiB", "name each device once"),
        ("", "1GiB", "name each device once"),
        ("cuda:0", "lots", "is not a size"),
        ("cuda:0,cuda:1,cuda:2", "1GiB,2GiB", "3 devices, but 2 memory sizes"),
    ],
)
def test_bad_options(names: str, memory: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_devices(names, memory)
