"""From a spec and a history to what is tried next. Pure."""
