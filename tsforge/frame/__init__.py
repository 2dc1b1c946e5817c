"""The long frame: its roles, its one check, its grid of time."""
