"""Whether a model is better than another, and whether data or training have changed. Pure."""
