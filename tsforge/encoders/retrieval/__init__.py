"""Encoders for search: a window in, one vector out, by which the most similar windows of the past are found."""
