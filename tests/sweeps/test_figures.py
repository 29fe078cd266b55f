from pathlib import Path

import pytest
from matplotlib import image

from speech_commands_kws.sweeps.figures import (
    graphs,
    influencing,
    plot_study,
    study_of_grid,
    styled,
)

ONE = {"validation_accuracy": "maximize"}
TWO = ONE | {"multiply_adds": "minimize"}


def grid_results(n_objectives: int) -> list[dict]:
    return [
        {
            "folder": Path(str(i)),
            "values": [0.5 + i / 10, 10.0 * i][:n_objectives],
            "overrides": {"lr": f"0.{i + 1}", "kind": "ab"[i % 2]},
            "status": "ok",
        }
        for i in range(4)
    ]


def test_a_grid_becomes_a_study() -> None:
    failed = {"folder": Path("9"), "values": None, "overrides": {"lr": "0.9"}, "status": "no"}
    study = study_of_grid([*grid_results(1), failed], ONE)
    assert [trial.params["lr"] for trial in study.trials] == [0.1, 0.2, 0.3, 0.4]
    assert study.best_trial.params == {"lr": 0.4, "kind": "b"}


@pytest.mark.parametrize(
    ("objectives", "names"),
    [
        (ONE, {"optimization_history", "parameter_importances", "parallel_coordinates"}),
        (TWO, {"pareto_front", "optimization_history_multiply_adds"}),
    ],
)
def test_each_graph_is_a_picture(tmp_path: Path, objectives: dict, names: set[str]) -> None:
    study = study_of_grid(grid_results(len(objectives)), objectives)
    paths = plot_study(study, list(objectives), tmp_path)
    assert names <= {path.stem for path in paths}
    for path in paths:
        pixels = image.imread(path)
        assert pixels.min() < 0.5 < pixels.mean()  # ink on white


def test_without_a_finished_training_there_is_no_graph(tmp_path: Path) -> None:
    assert plot_study(study_of_grid([], ONE), list(ONE), tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()


def test_only_what_can_influence_an_objective_has_an_importance() -> None:
    results = grid_results(2)
    for i, result in enumerate(results):
        result["overrides"] = {"optimizer.lr": f"0.{i + 1}", "backbone.width": str(i % 2)}
        result["overrides"] |= {"frontend.n_mels": str(40 * (1 + i // 2)), "augment": "ab"[i % 2]}
    study = study_of_grid(results, TWO)
    assert influencing(study, "multiply_adds") == ["backbone.width", "frontend.n_mels"]
    drawn = graphs(study, list(TWO))
    assert drawn["parameter_importances_multiply_adds"].keywords["params"] == [
        "backbone.width",
        "frontend.n_mels",
    ]
    assert "optimizer.lr" in drawn["parameter_importances_validation_accuracy"].keywords["params"]


def test_one_parameter_alone_has_no_importance() -> None:
    results = [
        result | {"overrides": {"lr": result["overrides"]["lr"]}} for result in grid_results(1)
    ]
    assert "parameter_importances" not in graphs(study_of_grid(results, ONE), list(ONE))


def test_the_axes_have_whole_numbers_of_trials_and_whole_names(tmp_path: Path) -> None:
    results = grid_results(1)
    for i, result in enumerate(results):
        result["overrides"] = {
            "augment.waveform.noise_amplitude": f"0.{i}",
            "optimizer.lr": "12"[i % 2],
        }
    drawn = graphs(study_of_grid(results, ONE), list(ONE))
    with pytest.warns():
        history = styled(drawn["optimization_history"]()).axes[0]
        parallel = styled(drawn["parallel_coordinates"]()).axes[0]
        bars = styled(drawn["parameter_importances"]()).axes[0]
    assert all(float(tick).is_integer() for tick in history.get_xticks())
    names = [label.get_text() for label in parallel.get_xticklabels()]
    assert names == ["validation_accuracy", "noise_amplitude", "lr"]
    longest = max(bar.get_width() for bar in bars.patches)
    assert bars.get_ylabel() == "" and bars.get_xlim()[1] > 1.05 * longest
