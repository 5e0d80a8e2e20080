"""Finished runs without any training, for the tests and the benchmark of what is done with many of them."""

from gbnlib import files
from gbnlib.experiments import RunConfig, store


def leave(config: RunConfig, seconds: float = 0.0) -> None:
    """Write what a finished run leaves in the store."""
    store.write_config(config)
    for name in ("history.csv", "distance.csv", "provenance.json"):
        files.write_text(store.folder(config) / name, "update\n1\n")
    store.write_done(config, "finished", {"seconds": seconds}, "")
