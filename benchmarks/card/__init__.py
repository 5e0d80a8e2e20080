"""What `benchmarks/gpu.py` does on a card, a module for each kind of step."""
