"""Blocks used by two or more architectures, and the switch for looking inside."""
