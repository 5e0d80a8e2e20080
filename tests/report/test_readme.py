"""README's numbers are those of the files, and its code runs."""

import re

from gbnlib import paper
from gbnlib.report import readme


def test_the_generated_blocks_are_up_to_date() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert text.count("<!-- begin ") == len(readme._BLOCKS)
    assert readme.rendered(text) == text, "run `python -m gbnlib.report.readme`"


def test_the_rows_have_every_method_and_their_claims() -> None:
    text = readme.README.read_text(encoding="utf-8")
    for block in ("row", "mnist"):
        (inside,) = re.findall(rf"<!-- begin {block} -->(.*?)<!-- end {block} -->", text, re.DOTALL)
        assert re.findall(r"^\| (\S+) +\|", inside, re.MULTILINE) == ["method", *paper.METHODS]
        assert all(f"- {claim}, " in inside for claim in ("C6", "C7", "C8"))


def test_the_example_runs_and_does_what_it_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", readme.README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.strip().splitlines()) <= 11
    names: dict = {}
    exec(code, names)
    assert names["large"].phases[0].lr == 0.4 and names["large"].epochs == 1600
    assert names["model"][1].ghost_size == 32
