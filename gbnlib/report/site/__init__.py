"""The Sphinx sources of the report, and the code that fills them in."""
