"""A collector of OpenTelemetry: `python -m tests.otlp_receiver PORT FILE` adds each span that arrives to a file."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        with Path(sys.argv[2]).open("a") as file:
            for of_process in sent.resource_spans:
                names = {each.key: each.value.string_value for each in of_process.resource.attributes}
                for span in (span for scope in of_process.scope_spans for span in scope.spans):
                    described = {
                        "path": self.path,
                        "service": names["service.name"],
                        "name": span.name,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "state": span.trace_state,
                        "ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                        "attributes": {
                            each.key: each.value.string_value or each.value.int_value for each in span.attributes
                        },
                        "n_events": len(span.events),
                    }
                    file.write(f"{json.dumps(described)}\n")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
