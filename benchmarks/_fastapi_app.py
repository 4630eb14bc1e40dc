"""The same prediction by FastAPI with pydantic models in and out, for `serving.py`. Runs in its own environment."""

import json
import os

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
_model = json.loads(os.environ["BENCH_MODEL"])
_weights, _bias = np.array(_model["weights"]), _model["bias"]


class Request(BaseModel):
    model: str
    instances: list[list[float]]


class Answer(BaseModel):
    outputs: list[list[float]]
    predictions: list[int]


@app.post("/predict")
async def predict(request: Request) -> Answer:
    outputs = 1 / (1 + np.exp(-(np.array(request.instances) @ _weights + _bias)))
    return Answer(outputs=outputs.tolist(), predictions=(outputs[:, 0] >= 0.5).astype(int).tolist())
