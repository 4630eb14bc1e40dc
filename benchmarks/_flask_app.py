"""Plain Flask, for `serving.py`: a `jsonify` hello, and the predict route that anybody would write first."""

import json
import os

import numpy as np
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
_model = json.loads(os.environ["BENCH_MODEL"])
_weights, _bias = np.array(_model["weights"]), _model["bias"]


@app.get("/hello")
def hello() -> Response:
    return jsonify(hello="world")


@app.post("/predict")
def predict() -> Response:
    features = np.array(request.get_json()["instances"])
    outputs = 1 / (1 + np.exp(-(features @ _weights + _bias)))
    return jsonify(outputs=outputs.tolist(), predictions=(outputs[:, 0] >= 0.5).astype(int).tolist())
