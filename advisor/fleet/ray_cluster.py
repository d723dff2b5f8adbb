"""A Ray cluster as a fleet: each node's task is pinned to it and takes all its cores, so nothing runs beside it."""

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from advisor.fleet.collect import Answer, FleetError, Node

_CONNECT_S = 5.0
_INSTALL = "pip install 'model-fit-advisor[fleet]'"


class RayCluster:
    """The machines of a running Ray cluster. Use it as a context manager."""

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise FleetError(f"Ray is not installed here; install it with: {_INSTALL}") from None
        self._ray = ray
        self._pending: dict[Any, str] = {}
        self._joined = not ray.is_initialized()
        if self._joined:
            _require_listener(address)
            try:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
                raise FleetError(
                    f"no Ray cluster answers at {address} ({reason}); start one with: ray start --head"
                ) from None

    def __enter__(self) -> "RayCluster":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._joined:
            self._ray.shutdown()

    def nodes(self) -> Sequence[Node]:
        """Machines that are alive and have a core to run a task on."""
        alive = [found for found in self._ray.nodes() if found["Alive"] and found["Resources"].get("CPU", 0.0) > 0]
        hosts = Counter(found["NodeManagerHostname"] for found in alive)
        return [
            Node(node_id=found["NodeID"], name=_name(found, hosts), cpus_count=found["Resources"]["CPU"])
            for found in alive
        ]

    def submit(self, node: Node, action: str, payload: Mapping[str, Any]) -> None:
        """Start a task that runs on this node or nowhere, alone, and is not retried."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from advisor.fleet.tasks import run_here

        task = self._ray.remote(run_here).options(
            num_cpus=node.cpus_count,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.node_id, soft=False),
        )
        self._pending[task.remote(action, dict(payload))] = node.node_id

    def poll(self, wait_s: float) -> Sequence[Answer]:
        """Answers that came within the time."""
        if not self._pending:
            return []
        ready, _ = self._ray.wait(list(self._pending), num_returns=len(self._pending), timeout=wait_s)
        return [self._answer(reference, self._pending.pop(reference)) for reference in ready]

    def _answer(self, reference: Any, node_id: str) -> Answer:
        errors = self._ray.exceptions
        try:
            return Answer(node_id=node_id, text=str(self._ray.get(reference)))
        except errors.RayTaskError as error:
            return Answer(node_id=node_id, failure=_cause(error))
        except errors.RayError as error:
            return Answer(node_id=node_id, failure=f"the node or its worker was lost: {_cause(error)}", lost=True)

    def abandon(self, node_id: str) -> None:
        """Stop a node's task if it still runs."""
        for reference, owner in list(self._pending.items()):
            if owner == node_id:
                self._ray.cancel(reference, force=True)
                del self._pending[reference]


def _require_listener(address: str) -> None:
    """Look before joining: Ray ends the whole process when nothing listens at the address.

    Raises:
        FleetError: if the address names a host and port, and nobody answers there.
    """
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FleetError(f"no Ray cluster answers at {address} ({reason}); start one with: ray start --head") from None


def _name(found: Mapping[str, Any], hosts: Mapping[str, int]) -> str:
    """The host's name, made unique where several nodes share one host."""
    host = str(found["NodeManagerHostname"])
    return host if hosts[host] == 1 else f"{host}-{found['NodeID'][:6]}"


def _cause(error: Exception) -> str:
    """The last line of a remote traceback, which names the error."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        return " ".join(str(cause).split())[:300] or type(cause).__name__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
