"""Build the image and try the containers for real: `./run container-test`.

Needs a Docker daemon (DOCKER_HOST, or the default socket), `docker compose` or `docker-compose`, and the base images
of Dockerfile and docker-compose.yml. It brings up a project of its own on a free port of 127.0.0.1, does to it what
happens to containers, and takes it down again with its volumes, also when a step fails. The image stays, under a name
of its own, so that the next build is short.
"""

import csv
import json
import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import httpx

from tests.faults.paced_load import PacedLoad

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "perceptron-service:container-test"

STOPS_WITHIN_S = 25.0
N_LOG_LINES = 30
OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
ENDLESS = {"tolerance": 0, "max_epochs": 1_000_000}
RETRIES_S = 10.0
ARROW = "application/vnd.apache.arrow.stream"

# Runs in the image: what it holds that it should not, and where its user may write.
LOOK_AROUND = """
import importlib.util, json, os, shutil
programs = "pip", "pip3", "gcc", "cc", "g++", "c++", "clang", "ld", "as", "make"
modules = "pip", "setuptools", "wheel", "ensurepip"
of_base = "/usr/local/lib/python3.11/site-packages"
print(json.dumps({
    "uid": os.getuid(),
    "found": [name for name in programs if shutil.which(name, path="/venv/bin:/usr/local/bin:/usr/bin:/bin")]
    + [name for name in modules if importlib.util.find_spec(name) or os.path.exists(f"{of_base}/{name}")],
    "writable": [folder for folder in ("/", "/app", "/venv", "/usr/local", "/data") if os.access(folder, os.W_OK)],
}))
"""

# Runs in a container: (uid, command line) of each of its processes.
LIST_PROCESSES = """
import glob, json
processes = []
for folder in glob.glob("/proc/[0-9]*"):
    try:
        uid = next(line.split()[1] for line in open(f"{folder}/status") if line.startswith("Uid:"))
        processes.append((int(uid), open(f"{folder}/cmdline").read().replace(chr(0), " ")))
    except OSError:
        pass  # it has just ended
print(json.dumps(processes))
"""


class StepFailedError(Exception):
    """The containers did not do what they should."""


def expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise StepFailedError(otherwise)


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float) -> Any:
    """Return the first true value of the condition."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        expect(time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain: {what}")
        time.sleep(0.1)
    return value


def output_of(*command: str, env: dict[str, str] | None = None) -> str:
    """Return what a command printed on both its outputs."""
    process = subprocess.run(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.stdout.decode(errors="replace").strip()
    tail = "\n".join(output.splitlines()[-N_LOG_LINES:])
    expect(process.returncode == 0, f"{' '.join(command)[:200]} ended with status {process.returncode}:\n{tail}")
    return output


def docker(*arguments: str) -> str:
    return output_of("docker", *arguments)


class Stack:
    """One compose project, and the API that it publishes."""

    def __init__(self, compose_command: list[str]) -> None:
        self.project = f"perceptron-test-{os.getpid()}"
        self.port, self.front_port = free_ports(2)
        self.command = [*compose_command, "-p", self.project, "-f", str(ROOT / "docker-compose.yml")]
        self.env = os.environ | {
            "PERCEPTRON_IMAGE": IMAGE,
            "PERCEPTRON_PUBLISH": f"127.0.0.1:{self.port}",
            "PERCEPTRON_FRONT": f"127.0.0.1:{self.front_port}",
            # Some shells export these, and mean something else.
            "HOST": "name-of-this-machine",
            "PORT": "not-a-port",
        }
        self.answers: dict[str, Any] = {}  # what a model predicted when it was new

    def compose(self, *arguments: str) -> str:
        return output_of(*self.command, *arguments, env=self.env)

    def of_project(self, kind: str, *arguments: str) -> list[str]:
        """Return the ids of this project's containers, volumes or networks."""
        label = f"label=com.docker.compose.project={self.project}"
        return docker(kind, "ls", "--quiet", "--filter", label, *arguments).split()

    def containers(self, service: str, *arguments: str) -> list[str]:
        """Return the ids of a service's running containers; `-a` names those that ended, too."""
        label = f"label=com.docker.compose.service={service}"
        return self.of_project("container", "--no-trunc", "--filter", label, *arguments)

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask the API over a new connection, since containers come and go."""
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, json=body, timeout=30, trust_env=False, verify=False)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask as docs/operations.md advises clients to: a 503 is no answer yet."""
        deadline = time.monotonic() + RETRIES_S
        while (response := self.api(method, path, body)).status_code == 503 and time.monotonic() < deadline:
            time.sleep(float(response.headers["Retry-After"]))
        expect(response.is_success, f"{method} {path} answered {response.status_code}: {response.text}")
        return response.json()

    def is_ready(self, n_workers: int = 1) -> bool:
        try:
            response = self.api("GET", "/readyz")
        except httpx.TransportError:
            return False
        return response.status_code == 200 and response.json()["workers"] >= n_workers

    def post_job(self, model: str, data: Any, **settings: Any) -> str:
        return str(self.ask("POST", "/jobs", {"model": model, "data": data, **settings})["id"])

    def wait_until_succeeded(self, job_id: str, timeout_s: float = 60) -> Any:
        job = wait_for(
            f"job {job_id} is not done",
            lambda: found if (found := self.ask("GET", f"/jobs/{job_id}"))["done"] else None,
            timeout_s,
        )
        expect(job["status"] == "succeeded", f"the job {job['status']}: {job['error']}")
        return job

    def wait_until_trains(self, job_id: str, attempt: int, timeout_s: float = 30) -> str:
        """Return the container that trains this attempt."""

        def container() -> str | None:
            job = self.ask("GET", f"/jobs/{job_id}")
            return self.trainers(job_id).get(attempt) if job["status"] == "running" and job["progress"] else None

        return str(wait_for(f"attempt {attempt} of {job_id} does not begin", container, timeout_s))

    def trainers(self, job_id: str) -> dict[int, str]:
        """Return which container trained which attempt, as the workers' logs tell."""
        found = {}
        for container in self.containers("worker", "-a"):
            log = docker("logs", container)
            for attempt in range(1, 10):
                if f"job {job_id}: attempt {attempt} starts" in log:
                    found[attempt] = container
        return found

    def predicts_as_before(self, model: str) -> bool:
        """Whether the answer is the same, but for a mark that Redis was away a moment ago."""
        question, answer = self.answers[model]
        return same_but_for_staleness(self.ask("POST", "/predict", question), answer)

    def take_down(self) -> None:
        self.compose("--profile", "front", "down", "--volumes", "--remove-orphans", "--timeout", "10")


def free_ports(n: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def same_but_for_staleness(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    return {name: value for name, value in answer.items() if name != "stale"} == expected


def inspect(container: str, template: str) -> str:
    return docker("inspect", "--format", template, container)


def wait_until_healthy(container: str, timeout_s: float) -> None:
    what = f"{inspect(container, '{{.Name}}')} is not healthy"
    wait_for(what, lambda: inspect(container, "{{.State.Health.Status}}") == "healthy", timeout_s)


def stop(container: str) -> float:
    """Stop a container as `docker stop` does by default, and return the seconds it took."""
    began = time.monotonic()
    docker("stop", container)
    took_s = time.monotonic() - began
    status = inspect(container, "{{.State.ExitCode}}")
    expect(status == "0", f"{inspect(container, '{{.Name}}')} ended with status {status} after {took_s:.1f} s")
    expect(took_s < STOPS_WITHIN_S, f"{inspect(container, '{{.Name}}')} took {took_s:.1f} s to stop")
    return took_s


def breast_cancer() -> dict[str, Any]:
    with (ROOT / "examples" / "breast_cancer.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    return {"features": [[float(value) for value in row[:-1]] for row in rows], "targets": [row[-1] for row in rows]}


# ------------------------------------------------------------------- the steps; each returns what it saw


def image_is_built(stack: Stack) -> str:
    stack.compose("build")
    layers = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", IMAGE)
    ours = sum(int(layer.split()[0]) for layer in layers.splitlines() if "/venv" in layer or "/app" in layer)
    expect(ours < 250e6, f"{ours / 1e6:.0f} MB of the image are ours")
    return f"{int(docker('image', 'inspect', '--format', '{{.Size}}', IMAGE)) / 1e6:.0f} MB, {ours / 1e6:.0f} MB ours"


def image_holds_no_build_tools_and_no_pip(stack: Stack) -> str:
    user = docker("image", "inspect", "--format", "{{.Config.User}}", IMAGE)
    expect(user.replace(":", "").isdigit() and not user.startswith("0"), f"the image's user is {user!r}")
    seen = json.loads(docker("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", LOOK_AROUND))
    expect(seen["uid"] != 0, "it runs as root")
    expect(not seen["found"], f"the image holds {', '.join(seen['found'])}")
    expect(seen["writable"] == ["/data"], f"the user can write to {seen['writable']}")
    return f"uid {seen['uid']} can write to /data only"


def any_user_on_any_port_is_healthy(stack: Stack) -> str:
    for user, port in (("12345:0", 9100), ("12345:12345", 9101)):
        options = ("--user", user, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none", "--init")
        options += ("--env", "INSECURE=true", "--health-interval", "1s")  # the image listens for other machines
        container = docker("run", "-d", *options, IMAGE, "up", "--port", str(port))
        try:
            wait_until_healthy(container, 40)
            docker("exec", container, "perceptron", "--version")
            ready = docker("exec", container, "python", "-m", "cli.health", "--ready")
            expect(not ready, f"it is healthy, but: {ready}")
        except StepFailedError as error:
            raise StepFailedError(f"{error}\n{docker('logs', '--tail', str(N_LOG_LINES), container)}") from error
        finally:
            docker("rm", "--force", "--volumes", container)
    return "uid 12345 on ports 9100 and 9101, with a read-only root"


def stack_starts_in_the_order_of_health(stack: Stack) -> str:
    began = time.monotonic()
    stack.compose("up", "-d", "--no-build")
    (redis,), (api,), (worker,) = map(stack.containers, ("redis", "api", "worker"))
    checks = json.loads(inspect(redis, "{{json .State.Health.Log}}"))
    healthy_at = [datetime.fromisoformat(check["End"]) for check in checks if check["ExitCode"] == 0]
    expect(healthy_at, "the others started, but redis is not healthy yet")
    for container in (api, worker):
        started_at = datetime.fromisoformat(inspect(container, "{{.State.StartedAt}}"))
        expect(healthy_at[0] < started_at, f"redis was healthy at {healthy_at[0]}, this started at {started_at}")
    for container in (api, worker):
        wait_until_healthy(container, 60)
    wait_for("there is no worker", stack.is_ready, 30)
    return f"ready after {time.monotonic() - began:.1f} s on port {stack.port}"


def model_is_trained_and_predicts(stack: Stack) -> str:
    data = breast_cancer()
    job = stack.wait_until_succeeded(stack.post_job("breast-cancer", data, validation={"fraction": 0.2}))
    accuracy = job["result"]["metrics"]["accuracy"]
    expect(accuracy >= 0.95, f"the accuracy on held-out instances is {accuracy:.3f}")
    question = {"model": "breast-cancer", "instances": data["features"][:20]}
    answer = stack.ask("POST", "/predict", question)
    description = stack.ask("GET", "/models/breast-cancer/versions/1")
    (weights,), ((bias,),) = description["weights"], description["bias"]
    for features, (output,) in zip(question["instances"], answer["outputs"], strict=True):
        z = bias + math.fsum(x * w for x, (w,) in zip(features, weights, strict=True))
        expect(abs(output - 1 / (1 + math.exp(-z))) < 1e-9, f"the output {output} is not sigmoid({z})")
    stack.answers["breast-cancer"] = question, answer
    url = f"http://127.0.0.1:{stack.port}/predict"
    table = httpx.post(url, json=question, headers={"Accept": ARROW}, timeout=30, trust_env=False)
    expect(table.headers["Content-Type"] == ARROW, f"instead of Arrow: {table.status_code} {table.text[:300]}")
    return f"accuracy {accuracy:.3f}"


def processes_do_not_run_as_root(stack: Stack) -> str:
    uids = set()
    for service, program in (("api", "gunicorn"), ("worker", "worker.main")):
        (container,) = stack.containers(service)
        processes = json.loads(docker("exec", container, "python", "-c", LIST_PROCESSES))
        expect(any(program in command for _, command in processes), f"{program} is not in {processes}")
        expect(not any("/sh " in command for _, command in processes), f"a shell stands between: {processes}")
        uids |= {uid for uid, _ in processes}
    expect(len(uids) == 1 and 0 not in uids, f"the uids are {uids}")
    return f"uid {uids.pop()}"


def containers_are_confined(stack: Stack) -> str:
    containers = stack.of_project("container")
    for container in containers:
        state = json.loads(docker("inspect", container))[0]
        name, host = state["Name"], state["HostConfig"]
        expect(host["ReadonlyRootfs"], f"{name} can write to its root")
        expect(host["CapDrop"] == ["ALL"] and not host["CapAdd"], f"{name} has capabilities")
        expect(any("no-new-privileges" in option for option in host["SecurityOpt"]), f"{name} may gain privileges")
        expect(host["Memory"] > 0, f"{name} may take all memory")
        expect("max-size" in host["LogConfig"]["Config"], f"the log of {name} grows without a limit")
    return f"{len(containers)} containers"


def remedy_of_a_message_can_be_pasted(stack: Stack) -> str:
    (redis,), (api,) = stack.containers("redis"), stack.containers("api")
    docker("exec", redis, "redis-cli", "flushall")
    pasted = re.compile(r"`(perceptron [^`]*)`")
    remedy = wait_for("no remedy is named", lambda: pasted.search(stack.api("GET", "/readyz").text), 10)[1]
    docker("exec", api, *shlex.split(remedy))
    wait_for("it is not ready after the remedy", stack.is_ready, 30)
    stack.wait_until_succeeded(stack.post_job("after-the-loss", OR))
    return f"{remedy} brought it back"


def replicas_are_replaced_without_a_failed_request(stack: Stack) -> str:
    stack.compose("--profile", "front", "up", "-d", "--no-build", "--scale", "worker=1")
    front = f"127.0.0.1:{stack.front_port}"
    wait_for("the front is not ready", lambda: is_ok(f"http://{front}/readyz"), 60)
    wait_for("a worker is not ready", stack.is_ready, 30)
    time.sleep(3)  # it looks for the second replica, too
    question, answer = stack.answers["breast-cancer"]
    question = {**question, "instances": question["instances"][:1]}
    answer = {"model": "breast-cancer", "version": 1, "outputs": answer["outputs"][:1]}
    roll = [str(ROOT / "deploy" / "roll")]
    env = stack.env | {"COMPOSE": shlex.join(stack.command)}
    seen = []
    for what in ("restart", "upgrade"):
        if what == "upgrade":
            docker("build", "--quiet", "--label", "org.opencontainers.image.revision=next", "--tag", IMAGE, str(ROOT))
        before = {inspect(api, "{{.Image}}") for name in ("api", "api-2") for api in stack.containers(name)}
        with PacedLoad(front, question, answer) as load:
            output_of(*roll, env=env)
        after = {inspect(api, "{{.Image}}") for name in ("api", "api-2") for api in stack.containers(name)}
        expect(len(before) == len(after) == 1 and (before != after) == (what == "upgrade"), f"{before}, then {after}")
        expect(not load.failed, f"{what}: {load}: {load.failed[:3]}")
        seen.append(f"{what}: {load}")
    stack.compose("--profile", "front", "rm", "--stop", "--force", "front", "api-2")
    return "; ".join(seen)


def is_ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def three_workers_share_the_jobs(stack: Stack) -> str:
    stack.compose("up", "-d", "--no-build", "--no-recreate", "--scale", "worker=3")
    wait_for("three workers are not registered", lambda: stack.is_ready(3), 30)
    job_ids = [stack.post_job(f"shared-{k}", OR, training=ENDLESS | {"time_limit_s": 1}) for k in range(6)]
    n_jobs: dict[str, int] = defaultdict(int)
    for job_id in job_ids:
        stack.wait_until_succeeded(job_id)
        for container in stack.trainers(job_id).values():
            n_jobs[container] += 1
    expect(len(n_jobs) > 1, "one worker did all the jobs")
    return f"{len(job_ids)} jobs, {' + '.join(map(str, n_jobs.values()))}"


def redis_is_killed_and_comes_back(stack: Stack) -> str:
    (redis,) = stack.containers("redis")
    accepted = stack.post_job("accepted-just-before", OR, training=ENDLESS | {"time_limit_s": 2})
    docker("kill", redis)
    slowest_s = 0.0
    for path, body in (("/predict", stack.answers["breast-cancer"][0]), ("/jobs", {"model": "new", "data": OR})):
        began = time.monotonic()
        response = stack.api("POST", path, body)
        slowest_s = max(slowest_s, time.monotonic() - began)
        known = (
            path == "/predict"
            and response.is_success
            and same_but_for_staleness(response.json(), stack.answers["breast-cancer"][1])
        )
        refused = response.status_code == 503 and "Retry-After" in response.headers
        expect(known or refused, f"without Redis {path} answered {response.status_code}: {response.text}")
    expect(slowest_s < 3, f"without Redis an answer took {slowest_s:.1f} s")
    docker("start", redis)
    began = time.monotonic()
    wait_for("the API does not find Redis again", stack.is_ready, 30)
    back_s = time.monotonic() - began
    expect(stack.predicts_as_before("breast-cancer"), "the model predicts other numbers than before")
    wait_for(
        "predictions stay stale",
        lambda: "stale" not in stack.ask("POST", "/predict", stack.answers["breast-cancer"][0]),
        10,
    )
    stack.wait_until_succeeded(accepted)
    stack.wait_until_succeeded(stack.post_job("accepted-just-after", OR))
    return f"503 after {slowest_s:.1f} s, ready again after {back_s:.1f} s, same predictions, no job lost"


def job_of_a_killed_worker_is_trained_by_another(stack: Stack) -> str:
    job_id = stack.post_job("survivor", breast_cancer(), training=ENDLESS | {"time_limit_s": 8})
    victim = stack.wait_until_trains(job_id, 1)
    time.sleep(1)
    docker("kill", victim)
    began = time.monotonic()
    successor = stack.wait_until_trains(job_id, 2)
    took_s = time.monotonic() - began
    expect(successor != victim, "the dead worker took the job again")
    job = stack.wait_until_succeeded(job_id)
    versions = stack.ask("GET", "/models/survivor")["versions"]
    expect((job["attempt"], len(versions)) == (2, 1), f"attempt {job['attempt']} left {len(versions)} versions")
    docker("start", victim)  # a restart policy leaves alone what was killed through the daemon
    return f"attempt 2 on another worker after {took_s:.1f} s, one version"


def containers_stop_with_status_0(stack: Stack) -> str:
    job_id = stack.post_job("handed-back", breast_cancer(), training=ENDLESS)
    busy = stack.wait_until_trains(job_id, 1)
    busy_s = stop(busy)
    expect(stack.wait_until_trains(job_id, 2) != busy, "a stopped worker has the job")
    stack.ask("POST", f"/jobs/{job_id}/cancel")
    (api,) = stack.containers("api")
    api_s = stop(api)
    idle_s = max(stop(container) for container in stack.containers("worker"))
    return f"training worker {busy_s:.1f} s, its job went on elsewhere; api {api_s:.1f} s; other workers {idle_s:.1f} s"


def models_outlive_the_containers(stack: Stack) -> str:
    stack.compose("--profile", "front", "down")
    expect(not stack.of_project("container", "-a"), "containers are left")
    stack.compose("up", "-d", "--no-build")
    wait_for("it is not ready again", stack.is_ready, 60)
    expect(stack.predicts_as_before("breast-cancer"), "the model predicts other numbers than before")
    stack.wait_until_succeeded(stack.post_job("breast-cancer", breast_cancer()))
    latest = stack.ask("GET", "/models/breast-cancer")["latest_version"]
    expect(latest == 2, f"the next version is {latest}")
    return "down and up: same predictions, then version 2"


def nothing_is_left(stack: Stack) -> str:
    stack.take_down()
    left = [*stack.of_project("container", "-a"), *stack.of_project("volume"), *stack.of_project("network")]
    expect(not left, f"left: {left}")
    return "no container, volume or network"


STEPS = (
    image_is_built,
    image_holds_no_build_tools_and_no_pip,
    any_user_on_any_port_is_healthy,
    stack_starts_in_the_order_of_health,
    model_is_trained_and_predicts,
    processes_do_not_run_as_root,
    containers_are_confined,
    replicas_are_replaced_without_a_failed_request,
    three_workers_share_the_jobs,
    redis_is_killed_and_comes_back,
    job_of_a_killed_worker_is_trained_by_another,
    containers_stop_with_status_0,
    models_outlive_the_containers,
    remedy_of_a_message_can_be_pasted,
    nothing_is_left,
)


def find_compose() -> list[str]:
    """Return the compose command, or end with the remedy when there is nothing to test with."""
    if shutil.which("docker") is None:
        give_up("there is no docker command: install Docker")
    daemon = subprocess.run(["docker", "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if daemon.returncode != 0:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        give_up(f"no Docker daemon answers at {where}: start one, or name it with DOCKER_HOST")
    if subprocess.run(["docker", "compose", "version"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose") is not None:
        return ["docker-compose"]
    give_up("neither 'docker compose' nor 'docker-compose' works: install one of them")


def give_up(reason: str) -> NoReturn:
    sys.exit(f"container-test: error: {reason}")


def show_logs(stack: Stack) -> None:
    for container in stack.of_project("container", "-a"):
        print(f"---- {inspect(container, '{{.Name}}: {{.State.Status}}, exit status {{.State.ExitCode}}')}")
        print(docker("logs", "--tail", str(N_LOG_LINES), container), flush=True)


def clean_up(stack: Stack) -> None:
    try:
        stack.take_down()
    except StepFailedError as error:
        print(f"the project {stack.project} could not be taken down: {error}", flush=True)


def main() -> int:
    """Run the steps until one fails; the exit status says whether one did."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that the stack is taken down
    stack = Stack(find_compose())
    n_passed = n_failed = 0
    try:
        for step in STEPS:
            name, began = step.__name__.replace("_", " "), time.monotonic()
            try:
                seen = step(stack)
            except Exception as error:
                n_failed += 1
                reason = str(error) if isinstance(error, StepFailedError) else repr(error)
                print(f"FAILED {time.monotonic() - began:6.1f} s  {name}: {reason}", flush=True)
                show_logs(stack)
                break
            n_passed += 1
            print(f"ok     {time.monotonic() - began:6.1f} s  {name}: {seen}", flush=True)
    finally:
        if n_passed < len(STEPS):
            clean_up(stack)
    print(f"{n_passed} passed, {n_failed} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
