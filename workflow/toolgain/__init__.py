"""toolgain: did the training make the model better at calling tools, and how sure are we?"""

__version__ = "0.1.0"
