"""Where the package lies, for programs that run in an environment in which it is not installed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package; it goes on PYTHONPATH."""
