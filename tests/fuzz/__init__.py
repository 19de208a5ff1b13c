"""Mutated files: every reader either works or raises an error of the library, quickly and in little memory.

Each test draws its mutations from a fixed seed. Continuous integration runs a small form of about ten seconds for each
file; TRANSFERKIT_FUZZ_CASES sets another number of cases for every test:

    TRANSFERKIT_FUZZ_CASES=1500 pytest -n 0 tests/fuzz
"""
