"""Shards: forecasts of a fitted model in parts, each a function of an artifact, a range of series and their cutoffs.

A part does not depend on who makes it, so the table is the same in this process, in several and on a Ray cluster.
"""
