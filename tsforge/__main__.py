"""`python -m tsforge` is `tsforge`."""

from tsforge.cli.main import main

main()
