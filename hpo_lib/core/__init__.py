"""The nouns: search space, objective, trial, and what follows a failure. Pure values."""
