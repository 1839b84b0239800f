"""Words and records: configs, recipes, registries, runs, files, errors. No torch in here."""
