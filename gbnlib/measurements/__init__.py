"""Results that are not runs: what makes them, and the store that finds them again."""

from typing import TYPE_CHECKING

from gbnlib.lazy import names_of
from gbnlib.measurements.store import Measurement, damage, find, identify, measure, plan, planned_id, promote, root

if TYPE_CHECKING:
    from gbnlib.measurements.functions import make

__all__ = ["Measurement", "damage", "find", "identify", "make", "measure", "plan", "planned_id", "promote", "root"]

__getattr__, __dir__ = names_of(__name__, {"make": "gbnlib.measurements.functions"})
