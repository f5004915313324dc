"""GRPO with TRL: the program that trains, and the process that starts and watches it."""
