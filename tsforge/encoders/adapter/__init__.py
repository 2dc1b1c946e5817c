"""Adapters: fitted weights in, the same weights changed; one paper, one file."""
