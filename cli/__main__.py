"""`python -m cli`: the `perceptron` command without an installation."""

from cli.main import main

main()
