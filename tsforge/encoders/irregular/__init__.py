"""Encoders of what was observed when, off any grid: a set of observations in, one vector out."""
