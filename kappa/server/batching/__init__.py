"""Adaptive batching: requests that wait together run together, and no request waits for company.

`batcher` is what the server uses. What it decides is in `policy`, from what `estimator` has learned and `queue`
holds; these and `isolation` know no event loop, no thread and no clock, so a simulator runs the same code.
"""

__all__: list[str] = []
