"""Watch the run, kill a worker and a triggerer in the midst of it, start both again, and note what that did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from tests.airflow.scale.cluster import TRIGGERERS, WORKERS, Cluster
from tests.airflow.scale.verdict import Kill

#: Chats that may be under way, waiting ones included.
POOL_SLOTS = 300
#: Until a supervisor starts again what has died.
AWAY_SECONDS = 5.0
#: Of the mapped chats, those that wait or have ended when a process is killed.
WORKER_AT, TRIGGERER_AT = 0.25, 0.4
_LOOK_SECONDS, _TELL_SECONDS = 2.0, 15.0
#: Waits from which on it says something how they are shared.
_MANY = 30


class Conductor:
    """One DAG run of the recipe."""

    def __init__(self, cluster: Cluster, run_id: str, tasks: int, say: Callable[[str], None]) -> None:
        self.cluster, self.run_id, self.tasks, self.say = cluster, run_id, tasks, say
        self.kills: list[Kill] = []
        self.most_deferred = 0
        #: Of the waits, which part the busier triggerer had, at each look that found many.
        self.busier: list[float] = []
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
            begun = self._look()
            killed = {kill.name.split("-")[0] for kill in self.kills}
            if "worker" not in killed and begun >= WORKER_AT * self.tasks:
                self._kill_worker()
            elif "triggerer" not in killed and begun >= TRIGGERER_AT * self.tasks:
                self._kill_triggerer()
            self._see_recovery()
            time.sleep(_LOOK_SECONDS)
        self.seconds = time.monotonic() - self._began
        self._see_recovery()
        return state

    def _look(self) -> int:
        """Note how the tasks stand, and return how many chats wait or have ended."""
        states = self.cluster.database.states(self.run_id)
        self.most_deferred = max(self.most_deferred, sum(each["deferred"] for each in states.values()))
        waits = sorted(self.cluster.database.triggers().values())
        if sum(waits) >= _MANY:
            self.busier.append(waits[-1] / sum(waits))
        if self.seconds - self._told >= _TELL_SECONDS:
            self._told = self.seconds
            told = {task: dict(each) for task, each in sorted(states.items())}
            self.say(f"{told}; waits: {waits}")
        ask = states.get("ask", Counter())
        return ask["deferred"] + ask["success"]

    def _kill_worker(self) -> None:
        """Kill the one that runs the plain batch; when that is over, the one that runs the most."""
        database, processes = self.cluster.database, self.cluster.airflow.processes
        running = database.running(self.run_id)
        held = {name: sorted(task for pid, task in running.items() if processes.runs(name, pid)) for name in WORKERS}
        name = max(WORKERS, key=lambda worker: ("chats" in held[worker], len(held[worker])))
        # Not while it starts runs: those of that moment would be in doubt, and nobody could say what is right. See the page.
        if not held[name] or "runs" in held[name]:
            return
        self.cluster.kill(name)
        self._note(name, held[name])
        self.cluster.restart(name)

    def _kill_triggerer(self) -> None:
        """Kill the one that waits for the deferred batch; when that is over, the one that waits for the most."""
        database = self.cluster.database
        waiting = {job: database.waiting(job) for job in database.triggers() if job in self.cluster.jobs}
        if not waiting:
            return
        job = max(waiting, key=lambda each: ("runs" in waiting[each], len(waiting[each])))
        # While the batch runs it comes back to a triggerer every minute: worth waiting for.
        if "runs" not in waiting[job] and database.states(self.run_id)["runs"]["success"] == 0:
            return
        name = self.cluster.jobs[job]
        self.cluster.kill(name)
        held = database.waiting(job)  # what it reported before it died needs it no more
        self._lost_jobs[name] = job
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
