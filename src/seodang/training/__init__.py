"""One loop, and what it stands on: devices, optimizers, checkpoints."""
