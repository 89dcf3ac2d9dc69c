"""API and worker killed once each under the load of every route: no invariant is violated.

PostgreSQL and Temporal are taken away by `tests/outages`, and by `make chaos` with everything else.
"""

from __future__ import annotations

import pytest

from abono.chaos.blows import SHORT_STORY
from abono.chaos.processes import Campaign, run_campaign
from abono.chaos.strikes import RESUME_SECONDS_MAX


@pytest.mark.timeout(300)
async def test_the_stack_survives_the_kill_of_its_own_processes() -> None:
    told: list[str] = []
    campaign = Campaign(
        seed=1, seconds=RESUME_SECONDS_MAX, rounds=SHORT_STORY, customers=2, rest_seconds_max=60.0
    )
    report = await run_campaign(campaign, told.append)
    events = "\n".join(told)
    assert not report.violations, f"{report.violations}\n{events}"
    assert report.rounds == len(SHORT_STORY), events
    for part in ("API", "Worker"):
        assert f"{part} died (SIGKILL); starting it again" in told
    assert sum(report.stories.values()) > 0, events
    assert report.replayed > report.rounds, "histories replay (invariant 8)"
