"""What operators use: unit, container, Compose and Kubernetes files are valid, and framegate understands them.

No engine runs here: the files are held against the schemas and parsers of those who read them, and every command
line and settings file in them against framegate itself.
"""

import io
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from common import config as settings
from common.figures import InstanceFigures, ViewerFigures
from common.lines import Lines
from deploy.cli import _parser
from deploy.effective import check
from deploy.hosts import at_host
from deploy.metrics import exposition

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES_VERSION = "1.33"
EXPOSURE_MAX = 30  # of 100, as systemd-analyze counts it
PORTS = {"rtsp": settings.Rtsp().port, "http": settings.Http().port}
FLEET = DEPLOY / "fleet.example.toml"


def documents() -> Iterator[dict[str, Any]]:
    for path in KUBERNETES:
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] in kinds]


def fleet() -> settings.Config:
    (config_map,) = of_kind("ConfigMap")
    return settings.parse(config_map["data"]["fleet.toml"])


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The name of each workload, and its pods' spec."""
    workloads = of_kind("Deployment", "StatefulSet")
    return [(workload["metadata"]["name"], workload["spec"]["template"]["spec"]) for workload in workloads]


def understood(words: list[str]) -> Any:
    """A command line, as framegate reads it."""
    arguments, others = _parser().parse_known_args(words)
    assert others == []
    return arguments


# ---- Kubernetes ------------------------------------------------------------------------------------------


def test_every_manifest_fits_its_schema() -> None:
    kinds = set()
    for document in documents():
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
        kinds.add(document["kind"])
    assert {"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Service", "StatefulSet"} <= kinds


def test_the_schema_finds_what_is_wrong() -> None:
    (muxers,) = of_kind("StatefulSet")
    muxers["spec"]["replica"] = muxers["spec"].pop("replicas")
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(muxers, KUBERNETES_VERSION, strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    named = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted([*named, "kustomization.yaml"]) == [path.name for path in KUBERNETES]


def test_the_settings_are_right_and_every_host_of_them_has_its_pod() -> None:
    config = fleet()
    check(config)
    hosts = set()
    for name, pod in pods():
        (container,) = pod["containers"]
        arguments = understood(container["args"])
        (workload,) = (one for one in of_kind("Deployment", "StatefulSet") if one["metadata"]["name"] == name)
        alone = workload["kind"] == "Deployment"
        pod_names = [f"{name}-{number}" for number in range(workload["spec"]["replicas"])]
        here = [arguments.here] if alone else pod_names
        hosts |= set(here)
        secret = next(volume["secret"] for volume in pod["volumes"] if volume["name"] == "keys")
        assert {item["key"] for item in secret["items"]} == set(here)
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert arguments.config == f"{mounts['settings']}/fleet.toml"
        for host in here:
            assert config.hosts[host].key_file == f"{mounts['keys']}/{host}"
    assert hosts == set(config.hosts)


def test_ports_are_those_that_the_hosts_listen_on() -> None:
    config = fleet()
    for name, pod in pods():
        container = pod["containers"][0]
        here = container["args"][-1] if "--here" in container["args"] else f"{name}-0"
        at = at_host(config, here)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        listening: dict[str, int] = {}
        if at.processes.servers:
            listening |= PORTS
        if at.processes.muxers:
            listening["frames"] = at.hosts[here].port
        for stream in at.streams.values():
            if stream.host == here:
                listening["samples"] = stream.port
        assert ports == listening
        selected = [
            service
            for service in of_kind("Service")
            if service["spec"]["selector"].items() <= labels_of(name).items()
        ]
        (service,) = selected
        assert {port["port"] for port in service["spec"]["ports"]} == set(ports.values())
        address = config.hosts[here].address
        assert address in ("", service["metadata"]["name"], f"{here}.{service['metadata']['name']}")


def labels_of(workload: str) -> dict[str, str]:
    (one,) = (one for one in of_kind("Deployment", "StatefulSet") if one["metadata"]["name"] == workload)
    labels: dict[str, str] = one["spec"]["template"]["metadata"]["labels"]
    assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
    return labels


def test_pods_have_limits_probes_and_no_rights() -> None:
    for _, pod in pods():
        (container,) = pod["containers"]
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert "readinessProbe" in container
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == int(instruction("USER"))
    (servers,) = (pod for name, pod in pods() if name == "servers")
    assert servers["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_autoscaler_goes_by_a_figure_that_there_is() -> None:
    (autoscaler,) = of_kind("HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in [("Deployment", name) for name, _ in pods()]
    viewer = ViewerFigures("1", "door", "rtsp-tcp", "10.0.0.9:5", "ua", "reading", 1.0, 2, 3, 4, 5, 6.0)
    shown = exposition(InstanceFigures(viewers=[viewer])).decode()
    for metric in autoscaler["spec"]["metrics"]:
        assert re.search(rf"(?m)^{metric['pods']['metric']['name']}{{", shown)


# ---- Compose ---------------------------------------------------------------------------------------------


def test_the_compose_file_fits_its_schema(tmp_path: Path) -> None:
    def fits(path: Path) -> bool:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert fits(DEPLOY / "compose.yaml")
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("healthcheck:", "health_check:"))
    assert not fits(wrong)


def test_its_services_are_the_hosts_of_the_example() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    config = settings.load(FLEET)
    check(config)
    assert set(compose["services"]) == set(config.hosts)
    for name, service in compose["services"].items():
        arguments = understood(service["command"])
        assert arguments.here == name
        assert any(volume.endswith(f":{arguments.config}:ro") for volume in service["volumes"])
        (secret,) = service["secrets"]
        assert secret == {"source": name, "target": config.hosts[name].key_file}
        assert config.hosts[name].address in ("", name)
        assert compose["secrets"][name]["file"].endswith(f"/keys/{name}.key")
    published = compose["services"]["edge"]["ports"]
    assert published == [f"{port}:{port}" for port in PORTS.values()]
    assert (DEPLOY / compose["services"]["yard"]["build"]["context"] / "pyproject.toml").exists()


def test_the_examples_lines_are_whole() -> None:
    config = settings.load(FLEET)
    assert Lines(at_host(config, "edge")).muxers == ["hub/muxer-0"]


# ---- the container ---------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    parser = DockerfileParser(fileobj=io.BytesIO((DEPLOY / "Containerfile").read_bytes()))
    return [(one["instruction"], one["value"]) for one in parser.structure if one["instruction"] != "COMMENT"]


def instruction(name: str) -> str:
    return [value for found, value in instructions() if found == name][-1]


def test_the_container_has_all_packages_no_root_and_a_command_that_is_understood() -> None:
    known = {"FROM", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known
    copied = [value.split()[:-1] for name, value in instructions() if name == "COPY" and "--from" not in value]
    sources = {source for group in copied for source in group}
    packages = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert {*packages["wheel"]["packages"], "pyproject.toml", "README.md"} == sources
    ignored = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
    assert instruction("USER").isdigit()
    assert instruction("ENTRYPOINT") == '["framegate"]'
    arguments = understood(yaml.safe_load(instruction("CMD")))
    assert arguments.host == "0.0.0.0"
    assert instruction("EXPOSE").split() == [str(port) for port in PORTS.values()]


# ---- systemd ---------------------------------------------------------------------------------------------


def unit() -> str:
    return (DEPLOY / "framegate.service").read_text()


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    here = tmp_path / "framegate.service"
    command = str(Path(sys.executable).with_name("framegate"))
    here.write_text(unit().replace("/opt/framegate/bin/framegate", command))
    verified = analyze("verify", "--man=no", str(here))
    said = [line for line in verified.stderr.splitlines() if "framegate.service" in line]
    assert (verified.returncode, said) == (0, [])


def test_the_unit_is_hardened(tmp_path: Path) -> None:
    here = tmp_path / "framegate.service"
    here.write_text(unit())
    judged = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", str(here))
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_the_units_command_is_understood_and_its_user_is_made() -> None:
    (line,) = re.findall(r"(?m)^ExecStart=(.*)$", unit())
    arguments = understood(line.split()[1:])
    assert re.search(rf"(?m)^RuntimeDirectory={Path(arguments.runtime_dir).name}$", unit())
    (user,) = re.findall(r"(?m)^User=(.*)$", unit())
    assert re.search(rf"(?m)^u {user} ", (DEPLOY / "framegate.sysusers").read_text())
    assert "RestartPreventExitStatus=78" in unit()
