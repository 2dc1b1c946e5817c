"""Encoders of what is known of a series: ids and numbers in, one vector out."""
