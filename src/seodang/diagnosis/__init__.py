"""The doctor: what ails a training, from its history, its network and its data; below `api`, beside `comparison`."""
