"""Fuzzed confs: what a person, or an attacker, may hand to `validate`, and what must come of it."""
