"""The `hpo` command."""
