"""What `perceptron doctor` looks at. Nothing here changes anything: no key is written, no server started."""
