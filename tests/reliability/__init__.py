"""Proofs that a run survives: kills, power cuts, full disks, damage."""
