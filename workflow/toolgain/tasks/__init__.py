"""Training tasks: generated function-calling tasks, their reward, and their distance from BFCL."""
