"""An S3 server as a process of its own: moto's."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.free_port import free_port

BUCKET = "perceptron"
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}


def skip_without_s3() -> None:
    """Skip the tests of a module when a package that they need is missing."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")


class S3Server:
    """A server with one empty bucket. It keeps objects in memory: `restart` puts them back, as a disk would."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "S3Server":
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | KEYS)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client().create_bucket(Bucket=BUCKET)
                return self
            except Exception:
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.1)

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
        )

    def objects(self) -> dict[str, bytes]:
        """Return every object by its key."""
        client = self.client()
        found = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {one["Key"]: client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found}

    def restart(self) -> None:
        """Kill -9 the server and start it with the same objects."""
        objects = self.objects()
        self.stop()
        self.start()
        for key, content in objects.items():
            self.client().put_object(Bucket=BUCKET, Key=key, Body=content)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
