"""An edit executes the notebooks that it can change, and no others."""

import pytest

from gbnlib import files
from gbnlib.report.items import items
from gbnlib.report.sources import sources


def named(item: str) -> set[str]:
    """The files that the notebook of an item rests on, as paths below the package."""
    package = files.REPOSITORY / "gbnlib"
    found = sources(files.REPOSITORY / "notebooks" / f"{items()[item].notebook}.ipynb")
    assert all(path.is_file() for path in found)
    return {path.relative_to(package).as_posix() for path in found}


@pytest.mark.parametrize("item", items())
def test_every_notebook_rests_on_what_makes_frames_and_verdicts_but_not_on_the_readme_or_the_site(item: str) -> None:
    found = named(item)
    assert {"paper/criteria.toml", "report/items.toml"} <= found
    if "report/notebook.py" in found:
        assert {"experiments/store.py", "claims/verdict.py", "analysis/stats.py", "report/plots.py"} <= found
    assert not found & {
        "report/readme.py",
        "report/build.py",
        "report/site/pages.py",
        "training/loop.py",
        "nn/layers.py",
    }


def test_only_the_notebooks_that_draw_with_a_module_rest_on_it() -> None:
    assert [item for item in items() if "report/ghost_plots.py" in named(item)] == ["algorithm1"]
    assert [item for item in items() if "report/theory_plots.py" in named(item)] == ["random_walk"]
    assert [item for item in items() if "report/benchmarks.py" in named(item)] == ["algorithm1"]
