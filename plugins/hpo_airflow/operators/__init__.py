"""Trial operators, one file per backend."""
