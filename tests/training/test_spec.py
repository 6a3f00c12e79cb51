"""Reading training runs from TOML."""

from pathlib import Path

import pytest

from stedalign.training.spec import load_train_spec

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_reports_recipe_is_what_the_report_says() -> None:
    spec = load_train_spec(CONFIGS / "report" / "multinet11.toml")
    assert (spec.epochs, spec.batch_size, spec.learning_rate, spec.step_epochs) == (15, 64, 1e-3, 0)
    assert spec.noise.photons == 350
    assert spec.dataset.counts == (16_000, 2000, 2000)
    assert (spec.dataset.distribution, spec.dataset.range_peak_waves) == ("uniform", 0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat = 1e-3", "learning_rate"),
        ("[dataset]\nsampels = 3", "samples"),
        ("[noise]\nphoton = 3", "photons"),
        ("epochs = 0", "epochs"),
        ('network = "resnet"', "known: multinet11"),
        ("epochs = ", "cannot be read"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_train_spec(path)
    assert "\n" not in str(caught.value)
