"""The gate played through many nights; see README.md beside this file."""
