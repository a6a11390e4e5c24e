"""A forecast, month by month, and what it must be asked for."""

__all__ = ["forecast"]

MOST_MONTHS = 60


def forecast(request, model, task):
    """Return the carbon dioxide expected in each of the months that follow the data, as `{"months": 3}` asks for.

    A request for none, or for more than five years, is refused with 422.
    """
    months = request.get("months") if isinstance(request, dict) else None
    if type(months) is not int or not 1 <= months <= MOST_MONTHS:
        task.discard(f'Ask for 1 to {MOST_MONTHS} months, like `{{"months": 3}}`.', http_status=422)
        return None
    expected = model.forecast(months)
    return [{"month": f"{month:%Y-%m}", "ppm": round(value, 1)} for month, value in expected.items()]
