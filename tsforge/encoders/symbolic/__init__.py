"""Encoders of what is written about a series: a record of names, numbers and lists in, one vector out."""
