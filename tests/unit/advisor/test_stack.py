import pytest

from advisor.codec import dump, loads
from advisor.errors import BadRequestError, NothingFitsError
from advisor.stacks.jobs import make_job, parse_jobs
from advisor.stacks.stack import plan_stack, switch_cost_frac
from advisor.types import Limits, StackMode
from catalog.units import GIB

STAMP = {"created_at": "2026-01-01T00:00:00Z", "tool_version": "0"}


def plan(catalog, machine, text, **limits):
    jobs = [make_job(name) for name in parse_jobs(text)]
    return plan_stack(catalog, machine, jobs, Limits(**limits), **STAMP)


@pytest.fixture(scope="module")
def rag_stack(catalog, gpu_machine):
    return plan(catalog, gpu_machine, "chat,completion,embedding,reranker")


def test_every_job_is_done_by_a_model_of_its_kind(catalog, rag_stack):
    done = {job: catalog.models[member.choice.estimate.model_id] for member in rag_stack.members for job in member.jobs}
    assert set(done) == {"chat", "completion", "embedding", "reranker"}
    assert "embedding" in done["embedding"].capabilities
    assert "reranker" in done["reranker"].capabilities
    assert "coding" in done["completion"].capabilities
    assert "chat" in done["chat"].tasks


def test_what_is_loaded_together_fits_together(rag_stack):
    assert rag_stack.mode is StackMode.CO_RESIDENT
    for device in rag_stack.devices:
        assert device.available_bytes is None or device.total_bytes <= device.available_bytes
    parts = sum(member.choice.estimate.memory.total_bytes for member in rag_stack.members)
    assert sum(device.total_bytes for device in rag_stack.devices) == parts


def test_each_member_listens_on_its_own_port_and_says_what_it_is(rag_stack):
    commands = {member.jobs[0]: member.choice.command for member in rag_stack.members}
    ports = {command.partition("--port ")[2].split()[0] for command in commands.values()}
    assert len(ports) == len(rag_stack.members)
    assert "--reranking" in commands["reranker"]
    assert "--embeddings" in commands["embedding"]


def test_the_document_survives_a_round_trip(rag_stack):
    assert loads(dump(rag_stack)) == rag_stack


def test_one_model_does_two_alike_jobs(catalog, gpu_machine):
    found = plan(catalog, gpu_machine, "chat,general")
    assert [member.jobs for member in found.members] == [("chat", "general")]


def test_a_memory_limit_holds_for_all_together(catalog, gpu_machine):
    found = plan(catalog, gpu_machine, "chat,embedding", max_memory_bytes=8 * GIB)
    assert all(device.total_bytes <= 8 * GIB for device in found.devices)


def test_what_cannot_be_held_says_so(catalog, gpu_machine):
    with pytest.raises(NothingFitsError, match="no model for chat fits"):
        plan(catalog, gpu_machine, "chat,embedding", min_tokens_per_s=1e6)
    with pytest.raises(NothingFitsError, match="relax --license"):
        plan(catalog, gpu_machine, "chat,reranker", licenses=("no-such-licence",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("chat,embed", "did you mean embedding"),
        ("chat,chat", "names chat twice"),
        ("chat,", "unknown task ''"),
        ("chat,coding,rag,vision,general,embedding,reranker", "at most 6"),
    ],
)
def test_bad_lists_of_tasks_are_refused(text, says):
    with pytest.raises(BadRequestError, match=says):
        parse_jobs(text)


def test_a_longer_load_costs_more_up_to_a_bound():
    costs = [switch_cost_frac(load_s) for load_s in (0.0, 5.0, 20.0, 1e4)]
    assert costs == sorted(costs)
    assert 0.0 < costs[0] < costs[-1] < 0.5
