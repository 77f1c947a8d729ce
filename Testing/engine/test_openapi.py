"""The description of the service is true: schemathesis asks everything that it allows, and much that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from SSLSegmentationLib.engine.session import Models
from SSLSegmentationLib.identity import digest
from Testing.engine.engines import TOKEN, Served, click, keeper_with, scan_with_ball, served, stream
from Testing.models.packages import small_package

HEADERS = {"authorization": f"Bearer {TOKEN}"}
SCAN = scan_with_ball((6, 6, 6), radius=3, side=12)
CLICK = click(SCAN, (6, 6, 6))


class Token:
    """How schemathesis signs its requests, and leaves the signature out to see what happens."""

    def get(self, case: Any, context: Any) -> str:
        return TOKEN

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Served]:
    keeper = keeper_with({"propagate": stream}, models=Models(lambda: [small_package()]))
    with served(keeper, largest_upload=2**20) as engine:
        yield engine


@pytest.fixture(scope="module")
def operations(engine: Served) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{engine.url}/openapi.json", headers=HEADERS)
    schema.auth()(Token)
    return [found.ok() for found in schema.get_all_operations()]


def ask_everything(operation: Any, mode: GenerationMode, ids: dict[str, Any] | None = None) -> set[int]:
    """The statuses of many requests to one address, each answer compared with the description.

    `ids` are of things that exist.
    """
    # What a frame is cannot be said in the language of OpenAPI, and no random bytes are one. A job that exists may be
    # in a state that does not allow the request.
    excluded = [positive_data_acceptance] if ids or operation.path.endswith(("/volumes", "/{segment}")) else []

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode, auth_storage=operation.schema.auth))
    def ask(case: Any) -> None:
        if ids:
            case.path_parameters = {name: ids[name] for name in case.path_parameters or {}}
        statuses.add(case.call_and_validate(excluded_checks=excluded).status_code)

    statuses: set[int] = set()
    ask()
    return statuses


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_described(operations: list[Any], mode: GenerationMode) -> None:
    assert len(operations) == 20
    for operation in operations:
        if mode == GenerationMode.POSITIVE or operation.path_parameters or operation.query or operation.body:
            ask_everything(operation, mode)


def test_real_sessions_and_jobs_answer_as_described(engine: Served, operations: list[Any]) -> None:
    """Random ids never reach what is behind them."""
    session = engine.open(SCAN)
    ids = {"session": session, "address": digest(SCAN), "segment": "liver", "number": 0, "model": "two-organs"}
    succeeded = set()
    for operation in operations:
        if (operation.method, operation.path) != ("delete", "/sessions/{session}"):
            ids["job"] = engine.http.post(f"/sessions/{session}/jobs", json=CLICK).json()["id"]
            if min(ask_everything(operation, GenerationMode.POSITIVE, ids)) < 300:
                succeeded.add(operation.label)
    # The others need a frame, or something that no longer exists once the job is done.
    assert {one.label for one in operations} - succeeded == {
        "POST /volumes",
        "POST /sessions",
        "DELETE /sessions/{session}",
        "PUT /sessions/{session}/segments/{segment}",
        "DELETE /sessions/{session}/segments/{segment}",
        "GET /jobs/{job}/partial/{number}",
        "POST /models/{model}/install",
        "DELETE /models/{model}",
    }
    assert engine.http.delete(f"/sessions/{session}").status_code == 204
