"""`/docs`, a viewer of the API that works offline, and `/openapi.json`, which it shows."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import orjson
from flask import Blueprint, Response, redirect
from flask_openapi3 import OpenAPI
from werkzeug import Response as BaseResponse

from service.http.openapi import document

_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Perceptron Service: API</title>
  <link rel="icon" href="/docs/assets/images/scalar.svg">
</head>
<body>
  <div id="api"></div>
  <script src="/docs/assets/js/scalar.standalone.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
"""

# Nothing leads to another host: no web fonts, telemetry, agent or link, and no buttons to share or to generate code.
_START = """Scalar.createApiReference("#api", {
  url: "/openapi.json",
  withDefaultFonts: false,
  telemetry: false,
  showDeveloperTools: "never",
  hideClientButton: true,
  hideModels: true,
  agent: { disabled: true },
  mcp: { disabled: true },
  customCss: 'a[href*="scalar.com"] { display: none; }',
});
"""


_CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # the viewer writes styles into its elements
        "img-src 'self' data:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""What a page may load and who may frame it (CSP)."""


def docs_routes(app: OpenAPI, complete: Callable[[dict[str, Any]], dict[str, Any]]) -> Blueprint:
    """Build the routes. The viewer's code comes from the package flask-openapi3-scalar.

    Args:
        complete: adds to the document what its routes do not say themselves.
    """
    routes = Blueprint(
        "docs",
        __name__,
        static_folder=str(files("flask_openapi3_scalar") / "templates" / "scalar"),
        static_url_path="/docs/assets",
    )

    @routes.after_request
    def finish(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = _CONTENT_POLICY
        return response

    @routes.get("/")
    def start() -> BaseResponse:
        return redirect("/docs")

    @routes.get("/docs")
    def docs() -> Response:
        return Response(_PAGE, mimetype="text/html")

    @routes.get("/docs/start.js")
    def script() -> Response:
        return Response(_START, mimetype="text/javascript")

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return Response(orjson.dumps(complete(document(app))), mimetype="application/json")

    return routes
