"""Blocks that two or more models or encoders share."""
