"""The torch path: quick without a compiler, on any device, with adjoints written out."""
