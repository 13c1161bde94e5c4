"""Samplers of this project beside other optimizers, on real training tasks (README.md here)."""
