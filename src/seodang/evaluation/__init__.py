"""Judging finished runs: scores in depth, several models averaged, robustness against noise."""
