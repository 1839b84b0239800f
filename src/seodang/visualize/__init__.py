"""Pictures of runs and of what happens inside them."""
