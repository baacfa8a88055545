"""The checks behind `deploy/check.py`: each takes what it looks at and returns the faults it found, as lines."""
