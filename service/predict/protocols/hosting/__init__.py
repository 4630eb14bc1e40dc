"""What hosting platforms call: SageMaker, MLflow and Vertex AI."""
