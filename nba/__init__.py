"""The words and the decision: what may be said, what is best, what is tried, and only what is true."""
