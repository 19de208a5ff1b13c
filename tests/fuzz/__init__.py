"""Mutated files: every reader either works or raises an error of the library, quickly and in little memory.

The mutations follow from a seed. By default each test runs a small form of some seconds. TRANSFERKIT_FUZZ_CASES sets
the number of cases of every test, TRANSFERKIT_FUZZ_SEED another seed:

    TRANSFERKIT_FUZZ_CASES=2000 TRANSFERKIT_FUZZ_SEED=1 python -m pytest -n 0 tests/fuzz
"""
