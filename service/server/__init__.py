"""How the API is served: gunicorn, its worker class, and the ASGI shell around the Flask app."""
