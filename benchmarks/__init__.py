"""Measurements, side by side with a peer; run one with `python -m benchmarks NAME`."""
