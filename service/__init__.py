"""The HTTP API: a Flask app that holds every route, and the ASGI shell that gunicorn serves."""
