"""A real Ray cluster of several nodes on this machine: affinity, isolation, lost nodes, the command."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import advisor

pytestmark = [pytest.mark.fleet, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["ADVISOR_HOME"] = str(tmp_path_factory.mktemp("home"))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()
    del os.environ["ADVISOR_HOME"]


def test_every_node_is_scanned(cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "fleet.json"
    assert advisor("fleet", "scan", "--quick", "--address", cluster.address, "-o", str(target)) == 0
    fleet = json.loads(target.read_text())
    assert [node["status"] for node in fleet["nodes"]] == ["ok"] * 3
    assert len({node["node_id"] for node in fleet["nodes"]}) == 3
    for node in fleet["nodes"]:
        assert any(o["probe_id"] == "cpu.read_bandwidth" for o in node["profile"]["outcomes"])


def test_every_node_is_benched_with_twins(cluster: Any, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "tiny"\nrounds = 1\nwindows = 1\nprobes = false\n[[case]]\nmodel = "SmolLM2-135M-Instruct"\n'
        'quant = "Q8_0"\nlayers = 2\nprompt = 16\noutput = 4\nthreads = 1\n'
    )
    target = tmp_path / "fleet.json"
    code = advisor("fleet", "bench", "--suite", str(suite), "--address", cluster.address, "-o", str(target))
    fleet = json.loads(target.read_text())
    assert code == 0
    assert [node["status"] for node in fleet["nodes"]] == ["ok"] * 3, fleet["nodes"]
    assert all(node["run"]["cases"][0]["series"] for node in fleet["nodes"])


def test_tasks_run_on_their_own_node_and_alone(cluster: Any) -> None:
    from advisor.fleet.ray_cluster import RayCluster

    with RayCluster(cluster.address) as fleet:
        machines = fleet.nodes()
        assert len({machine.name for machine in machines}) == 3
        for machine in machines:
            fleet.submit(machine, "no such action", {})
        answers = []
        deadline = time.monotonic() + 60
        while len(answers) < 3 and time.monotonic() < deadline:
            answers += fleet.poll(1.0)
    assert {answer.node_id for answer in answers} == {machine.node_id for machine in machines}
    assert all(answer.failure and "no such action" in answer.failure and not answer.lost for answer in answers)


def test_a_lost_node_is_told_and_the_others_answer(cluster: Any) -> None:
    from advisor.fleet.collect import collect
    from advisor.fleet.ray_cluster import RayCluster

    doomed = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    killed = False

    def kill_once(nodes: object) -> None:
        nonlocal killed
        if not killed:
            killed = True
            os.kill(doomed.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    with RayCluster(cluster.address) as fleet:
        found = collect(
            fleet, "scan", {"quick": True, "budget_s": 12.0}, clock=time.monotonic, created_at="", tool_version="0",
            limit_s=90.0, on_change=kill_once,
        )  # fmt: skip
    states = sorted(node.status.value for node in found.nodes)
    assert states == ["lost", "ok", "ok", "ok"], found.nodes


def test_no_cluster_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert advisor("fleet", "scan", "--address", "127.0.0.1:1") == 1
    error = capfd.readouterr().err
    assert "ray start --head" in error
    assert "Traceback" not in error
