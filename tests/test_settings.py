import pytest
from omegaconf import OmegaConf

from speech_commands_kws.composition import checked
from speech_commands_kws.errors import KwsError


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("resume='no'", "resume must be true or false, got 'no'"),
        ("resume=1", "resume must be true or false, got 1"),
        ("loader.batch_size=0", "loader.batch_size must be a whole number of 1 or more, got 0"),
        ("loader.batch_size=1.5", "loader.batch_size must be a whole number of 1 or more, got 1.5"),
        ("trainer.max_epochs=true", "trainer.max_epochs must be a whole number of 1 or more"),
        ("seed=abc", "seed must be a whole number of 0 or more, got 'abc'"),
        ("seed=-1", "seed must be a whole number of 0 or more, got -1"),
        ("optimizer.lr=abc", "optimizer.lr must be a number above 0, got 'abc'"),
        ("optimizer.lr=.nan", "optimizer.lr must be a number above 0, got nan"),
        ("clip_seconds=0", "clip_seconds must be a number above 0, got 0"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay must be a number of 0 or more"),
        ("name=a/b", "name must be a name for a folder, without /, got 'a/b'"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(setting: str, expected: str) -> None:
    with pytest.raises(KwsError) as mistake:
        checked(lambda cfg: None, OmegaConf.from_dotlist([setting]))
    assert str(mistake.value).startswith(expected)


@pytest.mark.parametrize(
    "setting",
    [
        "resume=false",
        "seed=0",
        "loader.batch_size=1",
        "optimizer.lr=3e-4",
        "optimizer.lr=1",
        "name=a b",
    ],
)
def test_a_setting_that_fits_passes(setting: str) -> None:
    assert checked(lambda cfg: "answer", OmegaConf.from_dotlist([setting])) == "answer"
