"""Function-calling tasks drawn from a seed: tools, questions and the calls that answer them."""
