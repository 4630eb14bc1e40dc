"""What deploy/kubernetes promises, as far as it can be read: by the schemas of Kubernetes, and by our code."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from cli.main import COMMANDS
from service.app import create_app
from service.settings import Limits
from storage.blobs import BlobStore
from tests.documented_metrics import documented
from tests.test_prometheus import metrics_in

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
Object = dict[str, Any]


def resources_of(folder: Path) -> list[Object]:
    """Resolve what our kustomizations use: resources, a namespace and images."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(kustomization) <= {"apiVersion", "kind", "resources", "namespace", "images"}
    found: list[Object] = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        found += resources_of(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
    for each in found:
        if "namespace" in kustomization and each["kind"] != "Namespace":
            each["metadata"]["namespace"] = kustomization["namespace"]
        for image in kustomization.get("images", ()):
            for container in containers_of(each):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return found


def pod_of(each: Object) -> Object | None:
    pod: Object | None = each["spec"]["template"] if each["kind"] in ("Deployment", "StatefulSet") else None
    return pod


def containers_of(each: Object) -> list[Object]:
    pod = pod_of(each)
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())] if pod else []


BASE, PRODUCTION = resources_of(FOLDER / "base"), resources_of(FOLDER / "production")
PODS = {each["metadata"]["name"]: pod for each in PRODUCTION if (pod := pod_of(each)) is not None}
API, WORKER, REDIS = (PODS[f"perceptron-{name}"]["spec"] for name in ("api", "worker", "redis"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DOCUMENTED = set(re.findall(r"^\| `([A-Z_]+)`", OPERATIONS, re.MULTILINE))


def one(kind: str, name: str) -> Object:
    (found,) = (each for each in PRODUCTION if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def env_of(pod: Object) -> dict[str, Any]:
    (container,) = pod["containers"]
    return {entry["name"]: entry.get("value") for entry in container.get("env", ())}


OF_OPERATORS: Object = {
    "ScaledObject": {
        "scaleTargetRef": {"name": str},
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "pollingInterval": int,
        "cooldownPeriod": int,
        "triggers": [{"type": str, "metadata": dict}],
    },
    "ServiceMonitor": {
        "selector": {"matchLabels": dict},
        "endpoints": [
            {"port": str, "path": str, "interval": str, "authorization": {"credentials": {"name": str, "key": str}}}
        ],
    },
    "PrometheusRule": {
        "groups": [
            {
                "name": str,
                "rules": [{"alert": str, "expr": str, "for": str, "labels": dict, "annotations": dict}],
            }
        ]
    },
}
"""The members that KEDA and the operator of Prometheus know, as far as we use them: they ignore what they do not."""


def fits(value: Any, form: Any) -> bool:
    if isinstance(form, dict):
        return isinstance(value, dict) and all(name in form and fits(value[name], form[name]) for name in value)
    if isinstance(form, list):
        return isinstance(value, list) and value != [] and all(fits(each, form[0]) for each in value)
    return isinstance(value, form)


@pytest.mark.parametrize("each", PRODUCTION, ids=lambda each: f"{each['kind']}/{each['metadata']['name']}")
def test_every_resource_has_the_form_that_kubernetes_wants(each: Object) -> None:
    if each["apiVersion"] in ("keda.sh/v1alpha1", "monitoring.coreos.com/v1"):
        assert fits(each["spec"], OF_OPERATORS[each["kind"]])
        return
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("pip install kubernetes-validate")
    import kubernetes_validate  # type: ignore[import-not-found, unused-ignore]

    kubernetes_validate.validate(each, "1.30", strict=True)


def test_kustomize_makes_of_it_what_these_tests_read() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    built = subprocess.run(["kubectl", "kustomize", FOLDER / "production"], capture_output=True, text=True)
    if "unknown command" in built.stderr:
        pytest.skip("this kubectl has no kustomize")
    assert built.returncode == 0, built.stderr

    def in_order(resources: list[Object]) -> list[Object]:
        return sorted(resources, key=lambda each: (each["kind"], each["metadata"]["name"]))

    assert in_order(list(yaml.safe_load_all(built.stdout))) == in_order(PRODUCTION)


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_admitted_where_only_restricted_ones_are(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, and a read-only root on top."""
    spec = PODS[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["automountServiceAccountToken"] is False
    assert all(set(volume) & {"emptyDir", "configMap", "persistentVolumeClaim"} for volume in spec["volumes"])
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert not any("hostPort" in port for port in container.get("ports", ()))
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
        assert container["livenessProbe"] and container["startupProbe"]
    labels = one("Namespace", "perceptron")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def matches(selector: Object, labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        term["operator"] == "In" and labels.get(term["key"]) in term["values"]
        for term in selector.get("matchExpressions", ())
    )


def selected(selector: Object) -> set[str]:
    return {name for name, pod in PODS.items() if matches(selector, pod["metadata"]["labels"])}


def test_every_selector_selects_the_pods_that_its_name_says() -> None:
    everyone = {"perceptron-api", "perceptron-worker", "perceptron-redis"}
    chosen: dict[str, set[str]] = {}
    for each in PRODUCTION:
        spec, key = each.get("spec", {}), f"{each['kind']}/{each['metadata']['name']}"
        match each["kind"]:
            case "Service":
                chosen[key] = selected({"matchLabels": spec["selector"]})
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                chosen[key] = selected(spec["selector"])
            case "NetworkPolicy":
                chosen[key] = selected(spec["podSelector"])
    assert chosen == {
        "Service/perceptron": {"perceptron-api"},
        "Service/perceptron-redis": {"perceptron-redis"},
        "Deployment/perceptron-api": {"perceptron-api"},
        "Deployment/perceptron-worker": {"perceptron-worker"},
        "StatefulSet/perceptron-redis": {"perceptron-redis"},
        "PodDisruptionBudget/perceptron-api": {"perceptron-api"},
        "PodDisruptionBudget/perceptron-worker": {"perceptron-worker"},
        "NetworkPolicy/perceptron-nothing": everyone,
        "NetworkPolicy/perceptron-api": {"perceptron-api"},
        "NetworkPolicy/perceptron-redis": {"perceptron-redis"},
        "NetworkPolicy/perceptron-to-redis": {"perceptron-api", "perceptron-worker"},
        "NetworkPolicy/perceptron-metrics": {"perceptron-api"},
    }
    (watched,) = (each["spec"]["selector"] for each in PRODUCTION if each["kind"] == "ServiceMonitor")
    assert matches(watched, one("Service", "perceptron")["metadata"]["labels"])


def flows() -> Iterator[tuple[str, str, Any]]:
    """Give who may talk to whom in the base, and on which port; a namespace stands for its pods."""
    for each in BASE:
        if each["kind"] == "NetworkPolicy":
            for direction, peers in (("ingress", "from"), ("egress", "to")):
                for rule in each["spec"].get(direction, ()):
                    for peer in rule[peers]:
                        others = selected(peer["podSelector"]) if "podSelector" in peer else {str(peer)}
                        for own in selected(each["spec"]["podSelector"]):
                            for other in others:
                                for port in rule["ports"]:
                                    pair = (other, own) if direction == "ingress" else (own, other)
                                    yield *pair, port["port"]


def test_only_the_api_is_reached_from_outside_and_only_redis_and_dns_from_inside() -> None:
    ingress = str({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}})
    dns = str({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}})
    api, worker, redis = "perceptron-api", "perceptron-worker", "perceptron-redis"
    assert set(flows()) == {
        (ingress, api, "http"),
        (api, redis, "redis"),
        (worker, redis, "redis"),
        (api, dns, 53),
        (worker, dns, 53),
    }
    nothing = one("NetworkPolicy", "perceptron-nothing")["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"] and not {"ingress", "egress"} & set(nothing)


def test_every_setting_is_documented_and_every_reference_leads_somewhere() -> None:
    shared = one("ConfigMap", "perceptron")["data"]
    given = set(shared) | set(env_of(API)) | set(env_of(WORKER))
    assert {"PORT", "REDIS_URL", "STOP_DELAY_S", "MAX_TRAINING_BYTES"} <= given
    assert given - DOCUMENTED == {"REDIS_PASSWORD"}
    assert env_of(API)["REDIS_URL"] == env_of(WORKER)["REDIS_URL"]
    assert f"@{one('Service', 'perceptron-redis')['metadata']['name']}:6379/" in env_of(API)["REDIS_URL"]
    secret = yaml.safe_load((FOLDER / "base" / "secret.example.yaml").read_text())
    for pod in (API, WORKER, REDIS):
        for entry in pod["containers"][0]["env"]:
            if (source := entry.get("valueFrom")) is not None:
                reference = source["secretKeyRef"]
                assert reference["name"] == secret["metadata"]["name"] and reference["key"] in secret["stringData"]
        for volume in pod["volumes"]:
            if (claim := volume.get("persistentVolumeClaim")) is not None:
                assert one("PersistentVolumeClaim", claim["claimName"])["spec"]["accessModes"] == ["ReadWriteMany"]
            if (config := volume.get("configMap")) is not None:
                one("ConfigMap", config["name"])
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert pod is REDIS or mounted == {"blobs": shared["DATA_DIR"], "tmp": "/tmp"}
    assert Path(env_of(WORKER)["HEALTH_FILE"]).parent == Path("/tmp")


def test_ports_probes_and_commands_are_those_of_the_code(redis: Redis, blobs: BlobStore) -> None:
    routes = {rule.rule for rule in create_app(redis, blobs, Limits()).url_map.iter_rules()}
    api, worker, server = (pod["containers"][0] for pod in (API, WORKER, REDIS))
    assert api["ports"] == [{"name": "http", "containerPort": int(env_of(API)["PORT"])}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert api[probe]["httpGet"]["port"] == "http" and api[probe]["httpGet"]["path"] in routes
    assert api["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert {api["args"][0], worker["args"][0]} == {"serve", "worker"} <= set(COMMANDS)
    *_, module = worker["livenessProbe"]["exec"]["command"]
    assert importlib.util.find_spec(module) is not None
    assert server["ports"] == [{"name": "redis", "containerPort": 6379}]
    for name, port in (("perceptron", "http"), ("perceptron-redis", "redis")):
        assert [each["targetPort"] for each in one("Service", name)["spec"]["ports"]] == [port]


def test_a_stop_and_the_memory_fit_the_limits() -> None:
    drain_s, mib = 25, 1024 * 1024
    assert API["terminationGracePeriodSeconds"] >= float(env_of(API)["STOP_DELAY_S"]) + drain_s + 5
    assert WORKER["terminationGracePeriodSeconds"] >= drain_s + 5
    assert WORKER["containers"][0]["resources"]["limits"] == {
        "cpu": env_of(WORKER)["TRAINING_THREADS"],
        "memory": "4Gi",
    }
    assert int(one("ConfigMap", "perceptron")["data"]["MAX_TRAINING_BYTES"]) == (4096 - 256) * 3 // 4 * mib


def test_redis_is_the_one_of_compose_and_forgets_and_evicts_nothing() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    assert REDIS["containers"][0]["image"] == compose["image"]
    config = one("ConfigMap", "perceptron-redis")["data"]["redis.conf"]
    for line in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "maxmemory 2gb", "dir /data"):
        assert line in config.splitlines()
        assert line.split()[0] in " ".join(compose["command"])
    (claim,) = one("StatefulSet", "perceptron-redis")["spec"]["volumeClaimTemplates"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in REDIS["containers"][0]["volumeMounts"]


def test_the_autoscalers_scale_what_there_is_by_what_there_is() -> None:
    scaled = one("HorizontalPodAutoscaler", "perceptron-api")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", "perceptron-api")
    by_depth = one("ScaledObject", "perceptron-worker")["spec"]
    assert by_depth["scaleTargetRef"] == {"name": "perceptron-worker"}
    for name in ("perceptron-api", "perceptron-worker"):
        assert "replicas" not in one("Deployment", name)["spec"]  # each apply would undo what the autoscaler did
    (trigger,) = by_depth["triggers"]
    assert trigger["type"] == "prometheus"
    told = trigger["metadata"]
    assert all(isinstance(value, str) for value in told.values())  # KEDA takes nothing else
    assert (told["threshold"], told["ignoreNullValues"]) == ("1", "false")
    assert metrics_in(told["query"]) == {"perceptron_jobs", "perceptron_jobs_runnable"} <= documented().keys()


def test_the_workers_are_scaled_by_the_jobs_of_this_installation_alone() -> None:
    (trigger,) = one("ScaledObject", "perceptron-worker")["spec"]["triggers"]
    selectors = re.findall(r"\bperceptron_\w+(\{[^}]*\})?", trigger["metadata"]["query"])
    service, monitor = one("Service", "perceptron"), one("ServiceMonitor", "perceptron")
    labels = service["metadata"]["labels"].items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels
    assert not {"jobLabel", "namespaceSelector"} & set(monitor["spec"])  # so these are the labels that Prometheus adds:
    added = {"namespace": monitor["metadata"]["namespace"], "job": service["metadata"]["name"]}
    assert len(selectors) == 2
    for selector in selectors:
        assert added.items() <= dict(re.findall(r'(\w+)="([^"]*)"', selector)).items()


def test_prometheus_scrapes_the_service_with_a_key_under_the_name_that_the_alerts_look_for() -> None:
    (endpoint,) = one("ServiceMonitor", "perceptron")["spec"]["endpoints"]
    service = one("Service", "perceptron")
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]] and endpoint["path"] == "/metrics"
    secret, key = (endpoint["authorization"]["credentials"][name] for name in ("name", "key"))
    assert f"create secret generic {secret} --from-literal={key}=" in OPERATIONS
    rules = one("PrometheusRule", "perceptron")["spec"]
    assert rules == yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()), "see its first lines"
    jobs = set(re.findall(r'job="([^"]+)"', str(rules)))
    assert jobs == {service["metadata"]["name"]}  # where a ServiceMonitor says nothing, the Service names the job


def test_the_ingress_takes_bodies_as_large_as_the_front_of_nginx_does() -> None:
    nginx = (ROOT / "deploy" / "nginx.conf").read_text()
    common, of_datasets = re.findall(r"client_max_body_size (\w+);", nginx)
    (timeout,) = re.findall(r"proxy_read_timeout (\d+)s;", nginx)
    own = "nginx.ingress.kubernetes.io/proxy-"
    taken: dict[tuple[str, str], dict[str, str]] = {}
    for each in PRODUCTION:
        if each["kind"] == "Ingress":
            (rule,) = each["spec"]["rules"]
            (path,) = rule["http"]["paths"]
            (tls,) = each["spec"]["tls"]
            assert tls["hosts"] == [rule["host"]] and f"create secret tls {tls['secretName']} " in OPERATIONS
            taken[path["path"], path["pathType"]] = each["metadata"]["annotations"]
    assert taken == {
        ("/", "Prefix"): {f"{own}body-size": common, f"{own}read-timeout": timeout},
        ("/datasets", "Exact"): {
            f"{own}body-size": of_datasets, f"{own}read-timeout": timeout, f"{own}request-buffering": "off",
        },
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_the_line_that_restores_redis_in_its_pod_does_so_while_it_runs(tmp_path: Path) -> None:
    """The pod's shell, with another folder for /data and other names for the commands; Kubernetes starts it again."""
    (line,) = re.findall(r"exec perceptron-redis-0 -- sh -c '(.+)'", OPERATIONS)
    data, backup, socket = tmp_path / "data", tmp_path / "backup", tmp_path / "s"
    line = line.replace("/data", str(data)).replace("redis-cli", f"redis-cli -s {socket}")
    with running_redis(backup, socket) as redis:
        redis.set("which", "that of the backup")
        redis.save()
    with running_redis(data, socket, *one_config()) as redis:
        redis.set("which", "what came later")
        shutil.copy(backup / "dump.rdb", data / "restored.rdb")
        subprocess.run(["sh", "-c", line], check=True, timeout=30)
    with running_redis(data, socket, *one_config()) as redis:
        assert redis.get("which") == b"that of the backup"
        redis.set("which", "what came afterwards")
    with running_redis(data, socket, *one_config()) as redis:
        assert redis.get("which") == b"what came afterwards"


def one_config() -> list[str]:
    """The settings of redis.conf in the ConfigMap, as arguments."""
    config = one("ConfigMap", "perceptron-redis")["data"]["redis.conf"]
    pairs = [line.split() for line in config.splitlines() if not line.startswith("#")]
    return [text for name, value in pairs if name != "dir" for text in (f"--{name}", value)]


@contextmanager
def running_redis(folder: Path, socket: Path, *arguments: str) -> Iterator[Redis]:
    """A server until the end of the block, if it runs so long."""
    folder.mkdir(exist_ok=True)
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        redis = Redis(unix_socket_path=str(socket), retry=Retry(ConstantBackoff(0.05), 200))
        redis.ping()
        yield redis
    finally:
        process.terminate()
        process.wait(30)
