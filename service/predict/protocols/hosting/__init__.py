"""The protocols of hosting platforms: SageMaker, MLflow and Vertex AI."""
