"""The comparison report: one HTML file that needs no network, and Markdown beside it."""
