"""Measures Conveyor from a checkout: recipes, their reports, and the figures of the docs."""
