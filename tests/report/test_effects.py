"""The small picture of an effect: what stands where."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from gbnlib.claims import Effect
from gbnlib.report.site.effects import WIDTH, described, effect_svg

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
ENDS = st.none() | NUMBERS


def drawn(effect: Effect) -> dict[str, ElementTree.Element]:
    """The parts of the picture by their classes, the last of a class."""
    return {part.get("class"): part for part in ElementTree.fromstring(str(effect_svg(effect)))}


def test_an_interval_above_its_threshold_lies_in_the_range() -> None:
    parts = drawn(Effect("gain", "points", 0.5, 0.3, 0.7, least=0.0, paper=0.6))
    left, right = map(float, re.findall(r"M([\d.]+) 15.0H([\d.]+)", parts["bar"].get("d"))[0])
    bound, dot = float(parts["range"].get("x")), float(parts["dot"].get("cx"))
    paper = float(re.match(r"M([\d.]+)", parts["paper"].get("d"))[1]) + 5
    assert 0 < bound < left < dot < paper < right < WIDTH
    assert bound + float(parts["range"].get("width")) == WIDTH  # the range is open above


def test_the_words_have_what_the_picture_has() -> None:
    effect = Effect('<b> "gain"', "points", 0.5, 0.3, 0.7, least=-0.15, most=1.0, paper=0.6)
    assert described(effect) == (
        '<b> "gain": 0.5 points, 95 % interval 0.3 to 0.7; '
        "the claim asks for above -0.15 and below 1; the paper has 0.6"
    )
    assert "<b>" not in effect_svg(effect)
    assert "interval" not in described(Effect("a", "", 1.0, most=2.0)) and "bar" not in drawn(Effect("a", "", 1.0))


@given(NUMBERS, ENDS, ENDS, ENDS, ENDS)
def test_everything_is_inside_the_picture(estimate, low, least, most, paper) -> None:
    low = None if low is None else min(low, estimate)
    high = None if low is None else estimate + (estimate - low)
    parts = drawn(Effect("a", "", estimate, low, high, least, most, paper))
    assert 0 <= float(parts["dot"].get("cx")) <= WIDTH
    assert float(parts["range"].get("width")) > 0
    for part in parts.values():
        assert all(-6 <= float(x) <= WIDTH + 6 for x in re.findall(r"[MH](-?[\d.]+)", part.get("d") or ""))
