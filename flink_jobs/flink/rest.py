"""A small typed client of Flink's REST API."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.flink.answers import TERMINAL, Checkpoints, Failure, Job, root_cause
from flink_jobs.waiting import WaitTimeoutError, wait_for

Json = dict[str, Any]


class FlinkRestError(Exception):
    """The JobManager answered with an error; the message is Flink's own."""


class FlinkRest:
    """The REST calls that StreamFlow uses. Times are milliseconds since the epoch, as Flink returns them."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        """Set the JobManager's URL; nothing is sent yet."""
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        # No proxy is used: the JobManager is on this machine or in this network.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, body: Json | None = None) -> Json:
        """Send one request and return the JSON of the answer.

        Raises:
            UserError: no JobManager answers at the URL.
            FlinkRestError: Flink answered with an error.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the URL is the JobManager's, from our settings
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            raise FlinkRestError(_flink_message(error)) from None
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"no Flink JobManager answers at {self.url} ({reason})",
                "run `streamflow up`, or set STREAMFLOW_FLINK_REST_URL",
                ErrorCode.FLINK_UNREACHABLE,
            ) from None
        answer: Json = json.loads(text or b"{}")
        return answer

    def get(self, path: str) -> Json:
        """Return the JSON of a GET request."""
        return self.request("GET", path)

    # ---- the cluster

    def overview(self) -> Json:
        """Return Flink's cluster overview: ``taskmanagers``, ``slots-total``, ``slots-available`` and more."""
        return self.get("/overview")

    def is_up(self) -> bool:
        """Return whether the JobManager answers."""
        try:
            self.overview()
        except (UserError, FlinkRestError):
            return False
        return True

    def taskmanagers(self) -> list[Json]:
        """Return the registered TaskManagers."""
        return list(self.get("/taskmanagers")["taskmanagers"])

    def cluster_settings(self) -> dict[str, str]:
        """Return the JobManager's configuration; settings at their defaults are left out."""
        answer: Any = self.get("/jobmanager/config")
        return {str(item["key"]): str(item["value"]) for item in answer}

    # ---- jobs

    def jobs(self) -> list[Job]:
        """Return all jobs that the JobManager lists, newest first."""
        found = [
            Job(item["jid"], item["name"], item["state"], item["start-time"])
            for item in self.get("/jobs/overview")["jobs"]
        ]
        return sorted(found, key=lambda job: -job.start_ms)

    def active_jobs(self) -> list[Job]:
        """Return the jobs that have not ended."""
        return [job for job in self.jobs() if not job.is_terminal]

    def find_job(self, name_or_id: str) -> Job:
        """Return the only active job with this id, start of an id, or part of a name.

        Raises:
            UserError: no job matches, or more than one.
        """
        active = self.active_jobs()
        wanted = name_or_id.lower()
        found = [job for job in active if job.job_id.startswith(wanted) or wanted in job.name.lower()]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{job.name} ({job.job_id})" for job in active) or "none"
        problem = "no running job" if not found else "more than one running job"
        raise UserError(
            f"{problem} matches {name_or_id!r}; running: {names}", "give the job's id, from `streamflow jobs`"
        )

    def details(self, job_id: str) -> Json:
        """Return one job with its vertices."""
        return self.get(f"/jobs/{job_id}")

    def job_parameters(self, job_id: str) -> dict[str, str]:
        """Return the parameters that the job's main gave the job (``pipeline.global-job-parameters``)."""
        found = (self.get(f"/jobs/{job_id}/config").get("execution-config") or {}).get("user-config") or {}
        return {str(name): str(value) for name, value in found.items()}

    def state(self, job_id: str) -> str:
        """Return the job's state."""
        return str(self.details(job_id)["state"])

    def all_tasks_running(self, job_id: str) -> bool:
        """Return whether the job and all its tasks are RUNNING; a job is RUNNING before its tasks are."""
        details = self.details(job_id)
        vertices = details["vertices"]
        return details["state"] == "RUNNING" and bool(vertices) and all(v["status"] == "RUNNING" for v in vertices)

    def wait_state(self, job_id: str, wanted: str, *, limit_s: float = 120.0, max_failures: int | None = None) -> None:
        """Wait until the job is in the state ``wanted``; for RUNNING, until all its tasks are, too.

        The wait fails after ``limit_s`` seconds, or when the job's history holds ``max_failures`` failures.

        Raises:
            UserError: the job failed, or the limit passed; the message holds the root cause.
        """

        def reached() -> bool:
            if wanted == "RUNNING":
                if self.all_tasks_running(job_id):
                    return True
            elif self.state(job_id) == wanted:
                return True
            state = self.state(job_id)
            if state in TERMINAL and state != wanted:
                raise UserError(f"job {job_id} is {state}{self._because(job_id)}", "fix the cause and submit again")
            if max_failures is not None and len(self.failures(job_id)) >= max_failures:
                raise UserError(f"job {job_id} keeps failing{self._because(job_id)}", "fix the cause and submit again")
            return False

        try:
            wait_for(reached, limit_s=limit_s, what=f"job {job_id} to be {wanted}", interval_s=0.2)
        except WaitTimeoutError:
            because = self._because(job_id)
            hint = "are there enough free task slots (`streamflow status`)?" if not because else "fix the cause"
            found = f"{self.state(job_id)}{self._lagging(job_id, wanted)}"
            raise UserError(f"job {job_id} is not {wanted} after {limit_s:g} s: {found}{because}", hint) from None

    def _lagging(self, job_id: str, wanted: str) -> str:
        """Return the vertices that are not in the wanted state, as text."""
        lagging = [f"{v['name']} is {v['status']}" for v in self.details(job_id)["vertices"] if v["status"] != wanted]
        return f" ({'; '.join(lagging)})" if lagging else ""

    def _because(self, job_id: str) -> str:
        failures = self.failures(job_id)
        return f"; root cause: {failures[0].root_cause}" if failures else ""

    def failures(self, job_id: str) -> list[Failure]:
        """Return the job's exception history, newest first."""
        entries = self.get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return [
            Failure(int(item["timestamp"]), str(item["exceptionName"]), str(item.get("stacktrace") or ""))
            for item in entries
        ]

    def cancel(self, job_id: str, *, limit_s: float = 120.0) -> None:
        """Cancel a job and wait until it has ended."""
        self.request("PATCH", f"/jobs/{job_id}?mode=cancel")
        wait_for(lambda: self.state(job_id) in TERMINAL, limit_s=limit_s, what=f"job {job_id} to end", interval_s=0.2)

    # ---- checkpoints and savepoints

    def checkpoints(self, job_id: str) -> Checkpoints:
        """Return the job's checkpoint counts and its last completed checkpoint."""
        return Checkpoints.from_answer(self.get(f"/jobs/{job_id}/checkpoints"))

    def savepoint(self, job_id: str, target: str, *, limit_s: float = 300.0) -> str:
        """Take a savepoint below ``target`` (a URI) while the job keeps running; return its path."""
        body = {"target-directory": target, "cancel-job": False}
        return self._savepoint(job_id, f"/jobs/{job_id}/savepoints", body, limit_s)

    def stop_with_savepoint(self, job_id: str, target: str, *, drain: bool = False, limit_s: float = 300.0) -> str:
        """Stop the job with a savepoint below ``target``; return its path once the job has ended.

        ``drain`` emits the content of all windows and ends event time; use it only for a job that is not resumed.
        """
        end = time.monotonic() + limit_s
        path = self._savepoint(job_id, f"/jobs/{job_id}/stop", {"targetDirectory": target, "drain": drain}, limit_s)
        left_s = max(1.0, end - time.monotonic())
        wait_for(lambda: self.state(job_id) in TERMINAL, limit_s=left_s, what=f"job {job_id} to end", interval_s=0.1)
        return path

    def _savepoint(self, job_id: str, path: str, body: Json, limit_s: float) -> str:
        trigger = self.request("POST", path, body)["request-id"]

        def done() -> Json | None:
            answer = self.get(f"/jobs/{job_id}/savepoints/{trigger}")
            return answer if answer["status"]["id"] == "COMPLETED" else None

        operation = wait_for(done, limit_s=limit_s, what=f"the savepoint of job {job_id}", interval_s=0.1)["operation"]
        failure = operation.get("failure-cause")
        if failure:
            raise UserError(
                f"the savepoint of job {job_id} failed: {root_cause(failure.get('stack-trace', ''))}",
                f"see {self.url}/#/job/running/{job_id}/checkpoints",
            )
        return str(operation["location"])

    # ---- metrics

    def vertex_metrics(self, job_id: str, pick: Callable[[str], bool], names: list[str]) -> dict[str, float]:
        """Return metrics summed over the subtasks of all vertices whose name ``pick`` accepts."""
        total: dict[str, float] = {}
        for vertex in self.details(job_id)["vertices"]:
            if not pick(vertex["name"]):
                continue
            query = urllib.parse.urlencode({"get": ",".join(names), "agg": "sum"})
            answer: Any = self.get(f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics?{query}")
            for item in answer:
                total[item["id"]] = total.get(item["id"], 0.0) + float(item["sum"])
        return total


def _flink_message(error: urllib.error.HTTPError) -> str:
    """Return the first line of Flink's own message."""
    text = error.read().decode(errors="replace")
    try:
        messages = json.loads(text).get("errors", [])
    except ValueError:
        messages = []
    causes = [root_cause(message) for message in messages if message and message != "Internal server error."]
    return causes[-1] if causes else f"HTTP {error.code}"
