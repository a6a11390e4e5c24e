"""`kappa tune`: measure an API, simulate it under load, recommend settings."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kappa import actions
from kappa._files import write_atomically
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result
from kappa.log import log

if TYPE_CHECKING:  # what is printed; measuring is the action's
    from kappa.server.tuning.tune import Tuning

__all__ = ["command"]


@kappa_command(
    "tune",
    examples=[
        "kappa tune IrisClassifier:latest",
        "kappa tune IrisClassifier:latest --api predict --target-ms 50 --plot tuning.svg",
    ],
)
@target_argument()
@click.option("--api", "api_name", metavar="NAME", help="The API to tune.  [default: the only one with an example]")
@click.option(
    "--target-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="The latency to aim at.  [default: the API's `max_latency_ms`, or 100]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=600),
    default=10.0,
    show_default=True,
    help="How long to measure one worker.",
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves into this SVG file.")
@format_option("text", "json")
def command(
    target: str, api_name: str | None, target_ms: float | None, seconds: float, plot: Path | None, output_format: str
) -> None:
    """Measure an API, simulate it under load, and recommend its settings.

    TARGET is a bundle: a path, or a tag like `IrisClassifier:latest`. The API is asked with its first example, by
    clients on this machine; then the server's own batching policy is simulated under arrivals at random and in bursts,
    from a tenth of what a worker can carry to five times as much. Measure on a quiet machine like the one that serves.
    """
    tuning = actions.tune_bundle(target, api_name, target_ms=target_ms, seconds=seconds)
    if plot is not None:
        write_atomically(plot, actions.tuning_charts(tuning).encode())
        log(f"Drew `{plot}`.")
    print_result(json.dumps(_as_json(tuning), indent=2) if output_format == "json" else _as_text(tuning))


def _as_json(tuning: Tuning) -> dict[str, Any]:
    model = tuning.measured.model
    return {
        "api": tuning.api,
        "target_ms": tuning.target_ms,
        "measured": {
            "base_ms": 1000 * model.base_s,
            "item_ms": 1000 * model.slope_s,
            "tail_ms": 1000 * model.tail_s,
            "request_ms": 1000 * model.request_s,
            "items_per_request": model.items,
            "deviation": tuning.measured.deviation,
            "phases": [asdict(phase) for phase in tuning.measured.phases],
        },
        "recommended": {
            "max_batch_size": tuning.advice.max_batch_size,
            "workers": tuning.workers,
            "speedup_of_workers": {str(tuning.cores): tuning.speedup},
        },
        "per_worker": {
            "saturation": tuning.advice.saturation,
            "sustainable": tuning.advice.sustainable,
            "sustainable_bursty": tuning.advice.sustainable_bursty,
            "is_target_reachable": tuning.advice.is_target_reachable,
        },
        "curves": {kind: [asdict(point) for point in points] for kind, points in tuning.curves.items()},
    }


def _as_text(tuning: Tuning) -> str:
    model, advice = tuning.measured.model, tuning.advice
    lines = [
        (
            f"Measured: a batch of n items takes {1000 * model.base_s:.3g} ms + n · {1e6 * model.slope_s:.3g} µs, "
            f"the slowest twentieth {1000 * model.tail_s:.2g} ms more; a request costs the event loop "
            f"{1e6 * model.request_s:.0f} µs."
        ),
    ]
    if tuning.measured.deviation > _CROOKED:
        lines.append(f"The line is off by up to {tuning.measured.deviation:.0%}: take what follows with care.")
    for kind, title in (("poisson", "Arrivals at random"), ("bursty", "Arrivals in bursts")):
        lines += ["", f"{title}, one worker, max_batch_size = {advice.max_batch_size}:", "", _HEAD]
        lines += [
            f"{point.load:6.0%}  {point.offered:9.0f}  {point.throughput:9.0f}  {point.goodput:9.0f}  "
            f"{point.refused:7.1%}  {point.p50_ms:8.1f}  {point.p99_ms:8.1f}  {point.batch:7.1f}"
            for point in tuning.curves[kind]
        ]
    lines += ["", *_recommendation(tuning)]
    return "\n".join(lines)


_CROOKED = 0.3
_HEAD = "  load  offered/s  answers/s  in time/s  refused    p50 ms    p99 ms    batch"


def _recommendation(tuning: Tuning) -> list[str]:
    advice = tuning.advice
    if not advice.is_target_reachable:
        return [
            (
                f"Two calls of one item after each other take longer than {tuning.target_ms:g} ms: no setting keeps "
                "such a target under load. Aim at more, or make the model faster."
            )
        ]
    count = "1 worker" if tuning.workers == 1 else f"{tuning.workers} workers"
    why = (
        f"{tuning.cores} workers answered {tuning.speedup:.1f} times as much as one, with the clients on this machine"
        if tuning.cores > 1
        else "there is one processor here"
    )
    return [
        (
            f"Recommended for {tuning.target_ms:g} ms: max_batch_size = {advice.max_batch_size}, "
            f"max_latency_ms = {tuning.target_ms:g}, {count} ({why})."
        ),
        (
            f"One worker then carries {advice.sustainable:.0f} requests a second at random and "
            f"{advice.sustainable_bursty:.0f} in bursts, with 99 % in time; {advice.saturation:.0f} is all it can do."
        ),
    ]
