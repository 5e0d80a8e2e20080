"""Verdicts as a notebook shows them."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from gbnlib.claims import VERDICTS, Verdict
from gbnlib.report import cards, site
from gbnlib.report.site.safe import clean_html

JUDGED = Verdict("C6", "It <b>helps</b>", "reproduced", evidence="+1 & more", network_label="F1", dataset_label="MNIST")
OPEN = Verdict("C6", "It helps", evidence="no finished runs", network_label="C1", dataset_label="CIFAR")
STYLE = (Path(site.__file__).parent / "static" / "report.css").read_text(encoding="utf-8")


def test_a_claim_has_one_card_with_a_badge_for_what_is_tested_and_one_for_the_rest() -> None:
    found = cards.cards([JUDGED, OPEN, OPEN, Verdict("B5", "Others say", tag="R")])
    first, second = (BeautifulSoup(each["text/html"], "html.parser") for each in found)
    signs = [badge.get_text() for badge in first.select(".verdict")]
    assert signs == ["●\xa0reproduced", "–\xa0not tested at this scale"]
    assert "F1 on MNIST: +1 & more." in first.get_text() and "It <b>helps</b>." in first.get_text()
    assert first.get_text().count("C1 on CIFAR (no finished runs)") == 2
    assert "reproduced: F1 on MNIST: +1 & more" in found[0]["text/plain"]
    assert "to be in the literature" in second.get_text() and "In the literature [R]" in second.get_text()


@pytest.mark.parametrize("verdict", VERDICTS)
def test_badges_have_the_look_of_the_report_and_its_classes(verdict: str) -> None:
    colours = re.findall(r"#\w+", re.search(r'html\[data-theme="light"\] {(.*?)}', STYLE, re.DOTALL)[1])
    assert set(cards.LOOK[verdict][1:]) <= set(colours)
    badge = BeautifulSoup(clean_html(cards.badge(verdict)), "html.parser").span
    assert badge.attrs == {"class": ["verdict", f"verdict-{verdict.replace(' ', '-')}"]}
    assert f".{badge['class'][1]}" in STYLE
