"""The numbers and the picture of README.md and docs/ are those of the files, and README's code runs."""

import re

import pytest

from gbnlib import claims, paper
from gbnlib.report import evidence, readme

README, EVIDENCE, _ = readme.PAGES


def test_every_block_stands_on_one_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in readme.PAGES)
    assert sorted(re.findall(r"<!-- begin (\w+) -->", text)) == sorted(readme._BLOCKS)


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_the_generated_blocks_are_up_to_date(page) -> None:
    text = page.read_text(encoding="utf-8")
    assert readme.rendered(text) == text, "run `python -m gbnlib.report.readme`"


@pytest.mark.parametrize("theme", readme.PICTURES)
def test_the_picture_is_up_to_date(theme: str) -> None:
    """To a tenth of a point of the picture, and without ids made of all digits: the last ones are the processor's."""

    def rounded(text: str) -> str:
        text = re.sub(r"\b[a-z][0-9a-f]{10}\b", "id", text)
        return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}", text).replace("-0.0", "0.0")

    drawn = readme.PICTURES[theme].read_text(encoding="utf-8")
    assert rounded(readme.picture(theme)) == rounded(drawn), "run `python -m gbnlib.report.readme`"


def test_it_is_short_and_begins_with_the_picture() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert next(number for number, line in enumerate(lines) if "<picture>" in line) < 20


def test_the_links_lead_to_files() -> None:
    for page in readme.PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_rows_have_every_method_and_their_claims() -> None:
    text = EVIDENCE.read_text(encoding="utf-8")
    for block in ("row", "mnist"):
        (inside,) = re.findall(rf"<!-- begin {block} -->(.*?)<!-- end {block} -->", text, re.DOTALL)
        assert re.findall(r"^\| (\S+) +\|", inside, re.MULTILINE) == ["method", *paper.METHODS]
        assert all(f"- {claim}, " in inside for claim in ("C6", "C7", "C8"))


def test_the_reduced_rows_say_what_they_are_and_have_every_method() -> None:
    text = EVIDENCE.read_text(encoding="utf-8")
    (inside,) = re.findall(r"<!-- begin reduced -->(.*?)<!-- end reduced -->", text, re.DOTALL)
    rows = [paper.protocol(network, evidence.SCALE) for network in evidence.reduced()]
    headings = re.findall(
        r"^### (\S+) on ([\d,]+) images .*: batch (\d+) against (\d+), (\d+) epochs$", inside, re.MULTILINE
    )
    assert [(label, *(int(value.replace(",", "")) for value in numbers)) for label, *numbers in headings] == [
        (row.label, row.train_size, row.small_batch, row.large_batch, row.epochs) for row in rows
    ]
    assert re.findall(r"^\| (\S+) +\|", inside, re.MULTILINE) == ["method", *paper.METHODS] * len(rows)
    assert all({each.network for each in evidence.verdicts(row.network)} == {row.network} for row in rows)


def test_a_reduced_row_has_a_column_once_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    effect = claims.Effect("accuracy of LB+LR minus LB", "points", 1.5, 1.0, 2.0)
    judged = {"resnet44": [claims.Verdict("C6", "", "reproduced", effect=effect), claims.Verdict("C7", "")]}
    for found, names in (({}, []), (judged, ["ResNet44, reduced"])):
        monkeypatch.setattr(readme, "_reduced_verdicts", lambda found=found: found)
        text = readme._claims()
        assert ("*Reduced*: ResNet44 on 3,200 images" in text) == bool(names)
        lines = [line for line in text.splitlines() if line.startswith("|")]
        heading, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
        assert heading == ["claim", "the paper", "full protocol", *names, "quick"]
    cells = {row[0].split()[0]: row[3] for row in rows}
    assert cells.pop("C6") == "reproduced, +1.50 points [+1.00, +2.00] (accuracy of LB+LR minus LB)"
    assert set(cells.values()) == {"not tested"}


def test_only_a_reduced_row_with_a_verdict_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"resnet44": [claims.Verdict("C6", "", "inconclusive")], "c1": [claims.Verdict("C6", "")]}
    monkeypatch.setattr(evidence, "reduced", lambda: list(said))
    monkeypatch.setattr(evidence, "verdicts", said.get)
    assert evidence.reduced_verdicts() == {"resnet44": said["resnet44"]}


def test_the_example_runs_and_does_what_it_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.strip().splitlines()) <= 11
    names: dict = {}
    exec(code, names)
    assert names["large"].phases[0].lr == 0.4 and names["large"].epochs == 1600
    assert names["model"][1].ghost_size == 32
