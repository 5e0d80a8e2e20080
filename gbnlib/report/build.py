"""Build the HTML report of one scale from the files its notebooks left."""

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from gbnlib.errors import Failed
from gbnlib.files import remove_folder
from gbnlib.report.site.contents import read_contents
from gbnlib.report.site.pages import write_source

PACKAGE_ROOT = Path(__file__).parents[2]
SHOWN_LINES = 20


class ReportError(Failed):
    """Sphinx failed or warned; the message holds what it said."""


def build_report(results: Path, scale: str) -> Path:
    """Build ``results/<scale>/report`` and return the path of its front page.

    The report is made in a folder beside the old one and takes its place when it is complete, so a build that fails or
    is killed leaves the old report whole.

    Parameters
    ----------
    results
        The folder of results, which holds a folder for each scale.
    scale
        Which of them to report: ``smoke``, ``quick``, ``desk`` or ``paper``.

    Returns
    -------
    pathlib.Path
        ``results/<scale>/report/index.html``. It opens from disk, without a server and without a network.

    Raises
    ------
    gbnlib.errors.UsageError
        If there is nothing to report, or a file is not readable JSON.
    ReportError
        If Sphinx fails or warns of anything.
    """
    folder = Path(results).resolve() / scale
    contents = read_contents(folder)
    with FileLock(folder / ".report.lock"):
        scratch = folder / ".report-building"
        remove_folder(scratch)
        try:
            write_source(contents, scratch / "source")
            _run_sphinx(scratch)
            _swap(scratch / "html", folder / "report", aside=scratch / "old")
        finally:
            remove_folder(scratch)
    return folder / "report" / "index.html"


def _run_sphinx(scratch: Path) -> None:
    """Run Sphinx in a process of its own, because it changes much of the state of the one it runs in.

    It works on one core: half the time goes into imports, and forked workers cost as much as they save.
    """
    command = [sys.executable, "-m", "sphinx", "-q", "-N", "-W", "--keep-going", "-b", "html"]
    command += ["-d", str(scratch / "doctrees"), str(scratch / "source"), str(scratch / "html")]
    path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).replace(f"{scratch / 'source'}/", "").strip().splitlines()
        raise ReportError("\n".join(["The report was not built; Sphinx said:", *said[-SHOWN_LINES:]]))


def _swap(new: Path, place: Path, aside: Path) -> None:
    """Put ``new`` in ``place`` and what was there ``aside``: two renames."""
    if place.exists():
        place.rename(aside)
    new.rename(place)
