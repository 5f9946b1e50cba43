"""How figures are shown."""

import statistics
from collections.abc import Mapping, Sequence

from bench.load.heartbeat import LIMIT_SECONDS, Beats

MIB = 1 << 20


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def print_latencies(seconds: Mapping[str, Sequence[float]]) -> None:
    """Print a line a route."""
    print(f"{'route':52}{'times':>7}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'worst':>9}")
    for route, values in sorted(seconds.items()):
        shown = [1000 * percentile(values, share) for share in (0.5, 0.95, 0.99)]
        numbers = "".join(f"{value:9.1f}" for value in (*shown, 1000 * max(values)))
        print(f"{route:52}{len(values):7d}{numbers}")


def print_stalls(api: Beats, control: Beats) -> None:
    """Print how long the API's event loop did not run, beside a process that only waits."""
    worst = [1000 * s for s in (api.worst_seconds, api.worst_own_seconds)]
    print(
        f"\nevent loop not running: worst {worst[0]:.0f} ms; the API's own part at most "
        f"{worst[1]:.0f} ms (limit {1000 * LIMIT_SECONDS:.0f}), longest collection of garbage "
        f"{1000 * api.worst_collection_seconds:.0f} ms\nidle process beside it: worst "
        f"{1000 * control.worst_seconds:.0f} ms; {api.count} and {control.count} beats"
    )
    over = [stall for stall in api.stalls if stall.late_seconds >= LIMIT_SECONDS]
    for stall in sorted(over, key=lambda stall: -stall.late_seconds)[:10]:
        print(
            f"    {1000 * stall.late_seconds:6.0f} ms late; processor time of the loop "
            f"{1000 * stall.loop_cpu_seconds:.0f} ms, of the whole process "
            f"{1000 * stall.process_cpu_seconds:.0f} ms"
        )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return how much the second value grows with one of the first."""
    return statistics.linear_regression(
        [point[0] for point in points], [point[1] for point in points]
    ).slope
