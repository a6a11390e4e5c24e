"""`python -m kappa` is the command `kappa`."""

from kappa.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
