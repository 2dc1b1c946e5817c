"""Encoders made around other encoders of windows."""
