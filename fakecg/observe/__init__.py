"""Looking at the model from outside: invariants and reports."""
