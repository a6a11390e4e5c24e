"""Plain functions: the kappafile names them, and says nothing that Python does not."""

import os
import sqlite3
from pathlib import Path

__all__ = ["connect", "disconnect", "predict"]


def connect():
    """Open the database; `setup` runs once per worker, and what it returns is injected by name."""
    path = Path(__file__).parent / os.environ["PATIENTS_DB"]
    # The only API answers in the thread that calls this; several have a thread each, and need a connection each.
    return {"db": sqlite3.connect(f"file:{path}?mode=ro", uri=True)}


def disconnect(db):
    """Close the database; `teardown` receives what `setup` returned."""
    db.close()


def predict(requests, model, db, tasks):
    """Return the expected progress of the disease within a year, one value per request like `{"patient": 17}`.

    A request for an unknown patient is refused by itself, with 404; the others of its batch are answered.
    """
    found = []
    for request, task in zip(requests, tasks, strict=True):
        patient = request.get("patient") if isinstance(request, dict) else None
        if not isinstance(patient, int):
            task.discard('Name the patient by number, like `{"patient": 17}`.', http_status=422)
            continue
        row = db.execute("SELECT age, bmi, bp, s5 FROM patients WHERE id = ?", (patient,)).fetchone()
        if row is None:
            task.discard(f"There is no patient {patient}.", http_status=404)
        else:
            found.append(row)
    return [{"progression": round(float(value), 1)} for value in model.predict(found)] if found else []
