"""The driver of the comparison with peer engines; see ../README.md."""
