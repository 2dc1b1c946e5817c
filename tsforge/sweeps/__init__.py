"""Sweeps: optuna looks for good settings of a recipe, with processes that may die at any moment.

A trial is a recipe whose validation windows are scored; what is left of a sweep is the recipe of the best one, and its
run. optuna lives here alone.
"""
