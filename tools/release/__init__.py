"""What `tools/wheels.py` is made of: targets, the source, machine code, wheels, checks."""
