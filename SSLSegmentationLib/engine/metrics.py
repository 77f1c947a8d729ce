"""What an engine does and holds, as Prometheus reads it: text, one number a line. Nothing in it names a scan."""

from __future__ import annotations

from SSLSegmentationLib.engine.keeper import Keeper

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(keeper: Keeper) -> str:
    import psutil

    worker = keeper.worker
    sections = [
        _section("sslseg_sessions", "gauge", "Open sessions.", {"": len(keeper.opened)}),
        _section("sslseg_jobs_waiting", "gauge", "Jobs in the queue.", {"": worker.waiting}),
        _section("sslseg_held_bytes", "gauge", "Scans, masks and results in memory.", {"": keeper.bytes_held}),
        _section("sslseg_held_bytes_limit", "gauge", "The most that may be held.", {"": keeper.max_bytes}),
        _section("sslseg_resident_bytes", "gauge", "Memory of the process.", {"": psutil.Process().memory_info().rss}),
        _section(
            "sslseg_jobs_total",
            "counter",
            "Jobs that have ended.",
            {
                f'{{operation="{name}",state="{state}"}}': count
                for (name, state), count in dict(worker.finished).items()
            },
        ),
        _section(
            "sslseg_job_seconds_total",
            "counter",
            "Time spent on jobs.",
            {f'{{operation="{name}"}}': round(seconds, 6) for name, seconds in dict(worker.seconds).items()},
        ),
    ]
    return "".join(sections)


def _section(name: str, kind: str, help: str, values: dict[str, float]) -> str:
    lines = [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{labels} {value}" for labels, value in sorted(values.items())]
    return "\n".join(lines) + "\n"
