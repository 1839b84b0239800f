"""Several variants of a recipe, each with several seeds, side by side: plan, runs, statistics, result."""
