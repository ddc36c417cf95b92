"""`python -m reconciler` is the same as `updoser`."""

from reconciler.cli import main

if __name__ == "__main__":
    main()
