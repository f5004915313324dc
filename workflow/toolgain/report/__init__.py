"""The comparison report: one HTML file that needs no network, and Markdown beside it.

In: comparison.json and the records of all stages.
Out: report.html, report.md.
"""
