"""Side-by-side measurements, one file per claim. `make bench` prints them all."""
