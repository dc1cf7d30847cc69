"""The report of a scaled-out run: its facts as JSON, and as Markdown between two markers of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from scale_out_cluster import TRIGGERERS, WORKERS
from scale_out_course import VICTIM, Course
from scale_out_evidence import Evidence, repeated, spread


def facts(course: Course, evidence: Evidence, videos: int) -> dict[str, Any]:
    """Return the numbers of a run. Times are seconds, quantiles are p50, p90 and max."""
    names = {course.dead: VICTIM, course.survivor: next(name for name in TRIGGERERS if name != VICTIM)}
    submits = [start.accepted_at for start in evidence.starts]
    moved = {number for number, job in course.holders.items() if job == course.dead}
    lags = _lags(evidence)
    taken = course.taken_over
    return {
        "videos": videos,
        "state": course.samples[-1].run,
        "starts": len(evidence.starts),
        "delivered": evidence.delivered,
        "bought_twice": evidence.bought_twice,
        "lost": videos - evidence.delivered,
        "events": len(evidence.fired),
        "events_repeated": len(repeated([event.number for event in evidence.fired])),
        "retried": course.retried,
        "wall_s": course.seconds,
        "most_waiting": course.most_waiting,
        "submit_s": max(submits) - min(submits),
        "submits_per_s": (len(submits) - 1) / (max(submits) - min(submits)),
        "polls_per_video": mean(start.polls for start in evidence.starts),
        "polls_per_video_max": max(start.polls for start in evidence.starts),
        "lag_undisturbed": spread([lag for number, lag in lags.items() if number not in moved]),
        "lag_moved": spread([lag for number, lag in lags.items() if number in moved]),
        "event_to_file": spread(_deliveries(evidence)),
        "kill": {
            "victim": names[course.dead],
            "after_s": course.killed_at - course.samples[0].at,
            "bought": next(sample.bought for sample in reversed(course.samples) if sample.at <= course.killed_at),
            "takeover_s": taken.at - course.killed_at,
        },
        "waits_at_kill": {names[job]: list(course.holders.values()).count(job) for job in names},
        "waits_after_takeover": {names[job]: taken.triggers.get(job, 0) for job in names},
        "waits_ever": {names[job]: len(evidence.waits.get(job, ())) for job in names},
        "events_of": {names[job]: sum(event.triggerer == job for event in evidence.fired) for job in names},
        "executions": dict(evidence.workers),
    }


def _lags(evidence: Evidence) -> dict[int, float]:
    done = {start.number: start.done_at for start in evidence.starts}
    return {event.number: event.at - done[event.number] for event in evidence.fired if event.number in done}


def _deliveries(evidence: Evidence) -> list[float]:
    fired = {event.number: event.at for event in evidence.fired}
    return [at - fired[number] for number, (_, at) in evidence.files.items() if number in fired]


def shortcomings(found: Mapping[str, Any]) -> list[str]:
    """Return in words what a run did not keep; empty if all was delivered and nothing bought or told twice."""
    wanted = found["videos"]
    checks = {
        f"the run ended as {found['state']}": found["state"] == "success",
        f"{found['starts']} starts were accepted for {wanted} videos": found["starts"] == wanted,
        f"{found['bought_twice']} videos were bought twice": found["bought_twice"] == 0,
        f"{found['delivered']} of {wanted} videos were delivered": found["delivered"] == wanted,
        f"{found['events_repeated']} waits ended with more than one event": found["events_repeated"] == 0,
    }
    return [words for words, kept in checks.items() if not kept]


def markdown(found: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    """Return the report. ``setting`` has ``airflow``, ``celery``, ``slots``, ``dead_after`` and ``cores``."""
    kill, names = found["kill"], TRIGGERERS
    rows: list[Sequence[Any]] = [
        ("videos requested", found["videos"]),
        ("submissions in the emulator's ledger", found["starts"]),
        ("bought twice", found["bought_twice"]),
        ("videos delivered: the right one, decoded to its last frame", found["delivered"]),
        ("lost", found["lost"]),
        ("task instances that needed a second try", found["retried"]),
        ("wall, from the trigger of the run to its end", f"{found['wall_s']:.0f} s"),
        ("submits", f"{found['submits_per_s']:.1f} a second, for {found['submit_s']:.0f} s"),
        ("waiting at once, at most", found["most_waiting"]),
        ("polls per video, mean / max", f"{found['polls_per_video']:.1f} / {found['polls_per_video_max']}"),
        ("video done → event, p50 / p90 / max", _spread(found["lag_undisturbed"])),
        (f"the same, of the waits that {kill['victim']} held when it died", _spread(found["lag_moved"])),
        ("event → file and JSON file in place, p50 / p90 / max", _spread(found["event_to_file"])),
        ("executions on the workers (two per video)", " + ".join(str(found["executions"][each]) for each in WORKERS)),
    ]
    return "\n".join(
        [
            f"Airflow {setting['airflow']}, PostgreSQL, Celery {setting['celery']} on Redis, "
            f"{len(WORKERS)} workers of {setting['slots']} slots, {len(names)} triggerers, "
            f"and the emulator, all on one machine of {setting['cores']} cores. Jobs take 45 to 75 s. The journal is "
            "Airflow's task state store. The destination is a directory that both workers see; workers on several "
            "machines would use object storage.",
            "",
            *_table(("what", "result"), rows),
            "",
            f"{kill['victim']} got SIGKILL, with its children, {kill['after_s']:.0f} s after the run began, when "
            f"{kill['bought']} videos were bought. {kill['takeover_s']:.1f} s later the survivor held all of "
            f"its waits. A triggerer counted as dead after {setting['dead_after']} s without a heartbeat "
            "(`[triggerer] triggerer_health_check_threshold`; Airflow's default is 30).",
            "",
            *_table(
                ("waits", *names),
                [
                    (label, *(found[key][name] for name in names))
                    for label, key in (
                        ("held right before the kill", "waits_at_kill"),
                        ("held after the takeover", "waits_after_takeover"),
                        ("begun or taken over, in the whole run", "waits_ever"),
                        ("ended with an event", "events_of"),
                    )
                ],
            ),
        ]
    )


def _spread(values: Mapping[str, float] | None) -> str:
    if values is None:
        return "none"
    return " / ".join(f"{values[name]:.1f}" for name in ("p50", "p90", "max")) + " s"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(str(cell) for cell in row)} |" for row in (head, rule, *rows)]
