"""The page made of what the steps found."""

from itertools import groupby

TITLES = {
    "facts": "The card",
    "equal": "One update against the CPU in float32, difference over its length",
    "repeat": "Made twice, and with a save and a load between: equal, bit for bit?",
    "waits": "Lines at which an update waits for the GPU",
    "ghosts": "Ghost layers against a loop, largest difference over the largest value",
    "rates": "Updates of each row",
    "graphs": "Updates replayed as CUDA graphs, in float32",
    "together": "Runs of F1 at once, in processes of their own",
    "plan": "Hours of each row and figure, by precision",
    "layers": "Ghost layers and their loop over plain ones, forward and backward",
    "runs": "Runs",
}


def text(content: dict) -> str:
    """The page, in Markdown."""
    head = "A dry run on tiny sizes: its numbers mean nothing." if content["tiny"] else "By `benchmarks/gpu.py`."
    parts = [f"# {content['card']}", head]
    entries = [(*key.partition(" ")[::2], entry) for key, entry in content["steps"].items()]
    for step, group in groupby(entries, lambda each: each[0]):
        parts.append(f"## {TITLES[step]}")
        rows: list[dict] = []
        for _, case, entry in group:
            rows += _rows(case, entry)
        parts.append(table(rows))
    plan = content["steps"].get("plan", {}).get("found", {})
    if plan:
        parts += ["Lines for gbnlib/paper/scales.toml:", "```toml\n" + "\n\n".join(plan["rows"].values()) + "\n```"]
    return "\n\n".join(parts) + "\n"


def _rows(case: str, entry: dict) -> list[dict]:
    """The rows of a table that an entry gives."""
    of = {"case": case} if case else {}
    if "error" in entry:
        return [{**of, "error": entry["error"], "where": " ".join(entry.get("where", []))}]
    found = entry["found"]
    if isinstance(found, dict) and "hours" in found:
        found = found["hours"]
    if isinstance(found, dict) and not case:
        found = [{"fact": key, "value": value} for key, value in found.items()]
    return [{**of, **row} for row in (found if isinstance(found, list) else [found])]


def table(rows: list[dict]) -> str:
    """Rows as a table in Markdown, with the columns of all of them; no package is needed for it."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(key, "")) for key in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    """A value in a cell."""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return (
            " × ".join(map(str, value)) if all(isinstance(each, int) for each in value) else "; ".join(map(str, value))
        )
    return str(value).replace("|", "\\|").replace("\n", " ")
