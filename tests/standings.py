"""Finished runs as a leaderboard compares them, without a store."""

from speech_commands_kws.tracking.experiments import Standing

ACCURACY = "best_validation_accuracy"


def standing(run: str, accuracy: float | None = None, **more) -> Standing:
    facts = {"run_id": run, "status": "FINISHED", "started": run, "sweep": None}
    metrics = {} if accuracy is None else {ACCURACY: accuracy}
    return Standing(run=run, **{**facts, "settings": {}, "tags": {}, "metrics": metrics, **more})
