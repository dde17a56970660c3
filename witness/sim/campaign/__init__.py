"""One engine for every campaign (`make sim`, `make fuzz`, `make fuzz-plain`, and the workers of `make mutants`).

A campaign runs seeds S, S+1, ... on worker processes of its own, adds up what they tell, keeps what failed, and ends
with one verdict. What is special about a command is its Kit (kit.py); everything else is here once.
"""
