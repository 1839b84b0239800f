"""Architectures: ordinary modules, one file per family, that know nothing of loss, data or devices."""
