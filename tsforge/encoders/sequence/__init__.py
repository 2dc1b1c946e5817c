"""Encoders of windows: steps in, a token for each step out."""
