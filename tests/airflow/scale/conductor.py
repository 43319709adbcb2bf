"""Watch the run, kill a worker and a triggerer in the midst of it, start both again, and note what that did."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.airflow.scale.cluster import TRIGGERERS, Cluster
from tests.airflow.scale.verdict import Kill

#: Chats that may be under way, waiting ones included.
POOL_SLOTS = 300
#: Until a supervisor starts again what has died.
AWAY_SECONDS = 5.0
#: Of the mapped chats have ended when a process is killed.
TRIGGERER_AT, WORKER_AT = 0.3, 0.5
_LOOK_SECONDS = 2.0


class Conductor:
    """One DAG run of the recipe."""

    def __init__(self, cluster: Cluster, run_id: str, tasks: int, say: Callable[[str], None]) -> None:
        self.cluster, self.run_id, self.tasks, self.say = cluster, run_id, tasks, say
        self.kills: list[Kill] = []
        self.most_deferred = 0
        self.seconds = 0.0
        self._began = time.monotonic()
        self._told = 0.0
        self._lost_jobs: dict[str, int] = {}

    def conduct(self, limit: float) -> str:
        """Go along to the end, and return the state of the DAG run."""
        database, airflow = self.cluster.database, self.cluster.airflow
        while (state := database.run_state(self.run_id)) not in ("success", "failed"):
            airflow.processes.check()
            self.seconds = time.monotonic() - self._began
            if self.seconds > limit:
                raise TimeoutError(f"the DAG run was still {state} after {limit:g} s: {database.states(self.run_id)}")
            ended = self._look()
            killed = {kill.name.split("-")[0] for kill in self.kills}
            if "triggerer" not in killed and ended >= TRIGGERER_AT * self.tasks:
                self._kill_triggerer()
            if "worker" not in killed and ended >= WORKER_AT * self.tasks:
                self._kill_worker()
            self._see_recovery()
            time.sleep(_LOOK_SECONDS)
        self.seconds = time.monotonic() - self._began
        self._see_recovery()
        return state

    def _look(self) -> int:
        """Note how the tasks stand, and return how many chats have ended."""
        states = self.cluster.database.states(self.run_id)
        self.most_deferred = max(self.most_deferred, sum(each["deferred"] for each in states.values()))
        if self.seconds - self._told >= 15:
            self._told = self.seconds
            told = {task: dict(each) for task, each in sorted(states.items())}
            self.say(f"{told}; waits: {sorted(self.cluster.database.triggers().values())}")
        return states.get("ask", {}).get("success", 0)

    def _kill_triggerer(self) -> None:
        """Kill the one that waits for the deferred batch, if one does now."""
        job = self.cluster.database.triggerer_of_batch()
        if job is None or job not in self.cluster.jobs:
            return
        name = self.cluster.jobs[job]
        self.cluster.kill(name)
        held = self.cluster.database.waiting(job)
        self._lost_jobs[name] = job
        self._note(name, held)
        self.cluster.restart(name)

    def _kill_worker(self) -> None:
        """Kill the one that runs the plain batch."""
        database = self.cluster.database
        # Not while it also runs a leg of the deferred batch: runs that are being started would be in doubt, see the page.
        pid, running = database.process(self.run_id, "chats"), database.running(self.run_id)
        if pid is None or "runs" in running.values():
            return
        name = self.cluster.worker_of(pid)
        held = [task for pid, task in running.items() if self.cluster.airflow.processes.runs(name, pid)]
        self.cluster.kill(name)
        self._note(name, held)
        self.cluster.restart(name)

    def _note(self, name: str, held: list[str]) -> None:
        self.seconds = time.monotonic() - self._began
        self.kills.append(Kill(name, self.seconds, held))
        self.say(f"killed {name}, which had {len(held)}: {', '.join(held[:8])}")
        time.sleep(AWAY_SECONDS)

    def _see_recovery(self) -> None:
        database = self.cluster.database
        for kill in self.kills:
            if kill.recovered is not None:
                continue
            if kill.name in TRIGGERERS:
                is_back = not database.triggers()[self._lost_jobs[kill.name]]
            else:
                is_back = not database.first_tries(self.run_id, kill.held)
            if is_back:
                kill.recovered = time.monotonic() - self._began - kill.at
                self.say(f"what {kill.name} had is in other hands after {kill.recovered:.0f} s")
