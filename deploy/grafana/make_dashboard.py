"""Write dashboard.json from the panels below: `python deploy/grafana/make_dashboard.py`."""

import json
from pathlib import Path
from typing import Any, NamedTuple

OUTPUT = Path(__file__).with_name("dashboard.json")

# Redis tells every replica the same, hence `max`; processes of replicas add up, hence `sum`.
RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    title: str
    unit: str
    queries: dict[str, str]
    """PromQL by legend."""


def quantiles(name: str, by: str = "") -> dict[str, str]:
    legend = f" {{{{{by}}}}}" if by else ""
    labels = f"le, {by}" if by else "le"
    return {
        f"p{100 * q:g}{legend}": f"histogram_quantile({q}, sum by ({labels}) (rate({name}_bucket{RATE})))"
        for q in (0.5, 0.99)
    }


def of_instance(query: str) -> dict[str, str]:
    return {"{{instance}}": query}


def by_label(over: str, query: str, labels: str) -> dict[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in labels.split(", "))
    return {legend: f"{over} by ({labels}) ({query})"}


def rate(metric: str) -> str:
    return f"rate({metric}{RATE})"


def increase(metric: str) -> str:
    return f"increase({metric}{RATE})"


ROWS: dict[str, list[Panel]] = {
    "Is it up?": [
        Panel("Ready", "none", of_instance("perceptron_ready")),
        Panel("Redis answers", "none", of_instance("perceptron_redis_up")),
        Panel("Workers", "none", {"registered": "max(perceptron_workers)", "busy": "max(perceptron_workers_busy)"}),
        Panel(
            "Alarms about damaged data",
            "none",
            {
                "API": f"sum({increase('perceptron_alarms_total')})",
                "workers": f"max({increase('perceptron_worker_alarms_total')})",
            },
        ),
    ],
    "Requests": [
        Panel("By route", "reqps", by_label("sum", rate("perceptron_http_requests_total"), "route")),
        Panel("By code", "reqps", by_label("sum", rate("perceptron_http_requests_total"), "method, code")),
        Panel("Until the answer begins", "s", quantiles("perceptron_http_request_duration_seconds", "route")),
        Panel("Event-loop lag", "s", quantiles("perceptron_event_loop_lag_seconds")),
    ],
    "Predictions": [
        Panel(
            "Predictions by version", "reqps", by_label("sum", rate("perceptron_predictions_total"), "model, version")
        ),
        Panel("Rows by protocol", "rowsps", by_label("sum", rate("perceptron_prediction_rows_total"), "protocol")),
        Panel("Time of a predict", "s", quantiles("perceptron_predict_duration_seconds", "protocol")),
        Panel("Stale answers", "reqps", {"stale": f"sum({rate('perceptron_stale_predictions_total')})"}),
        Panel(
            "Versions in memory",
            "none",
            {
                "versions": "sum(perceptron_version_cache_versions)",
                "loads": f"sum({increase('perceptron_version_cache_loads_total')})",
                "misses": f"sum({increase('perceptron_version_cache_misses_total')})",
                "evictions": f"sum({increase('perceptron_version_cache_evictions_total')})",
            },
        ),
        Panel("Memory of versions", "bytes", of_instance("perceptron_version_cache_bytes")),
    ],
    "Training": [
        Panel("Jobs by state", "none", by_label("max", "perceptron_jobs", "status")),
        Panel(
            "Queue",
            "none",
            {"entries": "max(perceptron_queue_entries)", "may run now": "max(perceptron_jobs_runnable)"},
        ),
        Panel("Age of the oldest queued job", "s", {"age": "max(perceptron_queue_oldest_age_seconds)"}),
        Panel(
            "Utilisation of workers",
            "percentunit",
            {"busy": "max(perceptron_workers_busy) / clamp_min(max(perceptron_workers), 1)"},
        ),
        Panel(
            "Jobs per second",
            "ops",
            {
                "submitted": f"max({rate('perceptron_jobs_submitted_total')})",
                **by_label("max", rate("perceptron_jobs_ended_total"), "status"),
            },
        ),
        Panel(
            "Attempts per second",
            "ops",
            {
                "started": f"max({rate('perceptron_attempts_started_total')})",
                "died": f"max({rate('perceptron_attempts_died_total')})",
                "handed back": f"max({rate('perceptron_attempts_handed_back_total')})",
            },
        ),
        Panel("Epochs per second", "ops", {"epochs": f"max({rate('perceptron_epochs_total')})"}),
        Panel("Checkpoints per second", "ops", {"checkpoints": f"max({rate('perceptron_checkpoints_total')})"}),
        Panel("RQ workers", "none", by_label("sum", "max by (name, state) (rq_workers)", "state")),
        Panel("RQ jobs", "none", {"{{status}}": "max by (queue, status) (rq_jobs)"}),
        Panel(
            "Attempts by worker",
            "ops",
            {
                "{{name}} succeeded": f"max by (name) ({rate('rq_workers_success_total')})",
                "{{name}} failed": f"max by (name) ({rate('rq_workers_failed_total')})",
            },
        ),
        Panel("Time spent training", "percentunit", by_label("max", rate("rq_workers_working_time_total"), "name")),
    ],
    "Webhooks": [
        Panel("Deliveries per second", "ops", by_label("max", rate("perceptron_webhook_deliveries_total"), "outcome")),
        Panel("Ends of jobs to be told", "none", {"waiting": "max(perceptron_webhooks_waiting)"}),
        Panel("Overdue", "s", {"overdue": "max(perceptron_webhooks_overdue_seconds)"}),
    ],
    "Redis and processes": [
        Panel(
            "Memory of Redis",
            "bytes",
            {
                "used": "max(perceptron_redis_memory_used_bytes)",
                "maxmemory": "max(perceptron_redis_memory_limit_bytes)",
            },
        ),
        Panel("Round trips", "ops", of_instance(rate("perceptron_redis_round_trip_seconds_count"))),
        Panel("Time of a round trip", "s", quantiles("perceptron_redis_round_trip_seconds")),
        Panel("Circuit breaker open", "none", of_instance("perceptron_redis_breaker_open")),
        Panel("CPU", "percentunit", of_instance(rate("perceptron_process_cpu_seconds_total"))),
        Panel("Memory", "bytes", of_instance("perceptron_process_resident_memory_bytes")),
        Panel("Open files", "none", of_instance("perceptron_process_open_fds")),
        Panel("Processes", "none", of_instance("perceptron_processes")),
        Panel("Uptime", "s", of_instance("time() - perceptron_process_start_time_seconds")),
        Panel(
            "Versions",
            "none",
            {"{{version}} on Python {{python}}": "count by (version, python) (perceptron_build_info)"},
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    panels: list[dict[str, Any]] = []
    y = 0
    for row, of_row in ROWS.items():
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row, "collapsed": False, "gridPos": place, "panels": []}
        )
        y += 1
        for index, panel in enumerate(of_row):
            targets = [
                {"refId": chr(65 + k), "datasource": source, "expr": query, "legendFormat": legend}
                for k, (legend, query) in enumerate(panel.queries.items())
            ]
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": panel.title,
                    "datasource": source,
                    "gridPos": {"x": 6 * (index % 4), "y": y + 7 * (index // 4), "w": 6, "h": 7},
                    "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                    "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
                    "targets": targets,
                }
            )
        y += 7 * -(-len(of_row) // 4)
    return {
        "title": "Perceptron Service",
        "uid": "perceptron-service",
        "schemaVersion": 39,
        "tags": ["perceptron"],
        "timezone": "",
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(text())
