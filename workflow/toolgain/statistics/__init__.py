"""Paired statistics of the official Overall: bootstrap, intervals, tests, power, verdict.

In: arrays of outcomes before and after. Nothing is read or written here.
Out: numbers in percent points, unrounded.
"""
