"""A missing package becomes a line that says what to install."""

import pytest

from speech_commands_kws.errors import missing_package, summarize_error


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("torch", 'pip install "speech-commands-kws[train]"'),
        ("lightning.pytorch", 'pip install "speech-commands-kws[train]"'),
        ("espeakng_loader", 'pip install "speech-commands-kws[synthetic]"'),
        ("tritonclient.grpc", 'pip install "speech-commands-kws[serve]"'),
        ("dvc.api", 'pip install "speech-commands-kws[data]"'),
    ],
)
def test_the_extra_is_named(module: str, command: str) -> None:
    message = str(missing_package(ModuleNotFoundError(name=module)))
    assert message == f"{module.split('.')[0]} is not installed: {command}"


@pytest.mark.parametrize("module", ["speech_commands_kws.nowhere", "hydra", None])
def test_any_other_failing_import_stays_a_bug(module: str | None) -> None:
    error = ModuleNotFoundError(name=module)
    with pytest.raises(ModuleNotFoundError) as caught:
        missing_package(error)
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\nlines,  and room"), "two lines, and room"),
        (ValueError(), "ValueError"),
        (ValueError("1234567 and more, which is too long"), "1234567 and more, w…"),
    ],
)
def test_an_error_is_summarized_in_one_line(error: Exception, line: str) -> None:
    assert summarize_error(error, limit=20) == line
