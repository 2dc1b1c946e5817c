"""References: the recurrences as loops over time under torch's own tape: slow, plainly right, twice differentiable."""
