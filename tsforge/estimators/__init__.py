"""Estimators: the scikit-learn face of every catalog row."""
