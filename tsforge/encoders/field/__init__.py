"""Encoders of where a series is: coordinates in, one vector out, of what is known at places around."""
