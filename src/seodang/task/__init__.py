"""Tasks: a batch becomes losses (sums), scores and answers people can read."""
