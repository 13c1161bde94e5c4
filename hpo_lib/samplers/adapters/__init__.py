"""Other libraries' samplers behind our protocol."""
