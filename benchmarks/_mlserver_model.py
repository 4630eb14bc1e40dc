"""The same prediction by MLServer, for `serving.py`. Runs in its own environment."""

import json
import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Perceptron(MLModel):
    async def load(self) -> bool:
        model = json.loads(os.environ["BENCH_MODEL"])
        self._weights, self._bias = np.array(model["weights"]), model["bias"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        features = NumpyCodec.decode_input(payload.inputs[0])
        outputs = 1 / (1 + np.exp(-(features @ self._weights + self._bias)))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", outputs)])
