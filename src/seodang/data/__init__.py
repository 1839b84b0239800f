"""Datasets: splits, facts about themselves, and batches."""
