"""`python -m cli` is the `perceptron` command without installing anything."""

from cli.main import main

main()
