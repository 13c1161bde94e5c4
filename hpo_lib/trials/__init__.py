"""The life of one trial, from its first attempt to its recorded outcome."""
