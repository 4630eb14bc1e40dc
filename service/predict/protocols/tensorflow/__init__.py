"""The REST API of TensorFlow Serving, which KServe v1 and Vertex AI also use."""
