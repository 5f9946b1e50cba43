"""What the commands that train have in common: a configuration and the cases of a split."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ml.cli.errors import BadInputError
from ml.cli.options import EXISTING_FILE
from ml.config import RunConfig
from ml.data.dataset import Dataset, open_dataset
from ml.data.splits import Split
from ml.experiments.execution import RunData
from ml.planning.plan import with_settings
from ml.planning.recipes import RECIPES

Function = TypeVar("Function", bound=Callable[..., Any])  # Any: a command of any options


def configuration_options(function: Function) -> Function:
    """Add --recipe, --config and --set; read_config makes a configuration of them."""
    options = (
        click.option(
            "--recipe", type=click.Choice(list(RECIPES)), default="lean", show_default=True
        ),
        click.option(
            "--config",
            "config_file",
            type=EXISTING_FILE,
            help="A run's config.json to start from instead of a recipe.",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            help="Another value of a setting, as in training.batch_size=8; may be repeated.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def read_config(recipe: str, config_file: Path | None, settings: Sequence[str]) -> RunConfig:
    """Return the recipe or the file's configuration with the settings in it.

    Raises:
        BadInputError: a setting without a value, or a file that is not json.
        ConfigError: a setting that does not exist, or a value it cannot have.
    """
    base = RECIPES[recipe] if config_file is None else RunConfig.from_dict(_read_json(config_file))
    return with_settings(base, dict(_pair(setting) for setting in settings))


def open_split(folder: Path) -> tuple[Dataset, Split]:
    """Open a dataset whose patients are dealt to parts.

    Raises:
        DatasetError: the folder holds no dataset.
        BadInputError: it is not split yet.
    """
    dataset = open_dataset(folder)
    if dataset.split is None:
        raise BadInputError("not_split", f"deal its patients first: cervicontour split {folder}")
    return dataset, dataset.split


def run_data(folder: Path, crops: Path | None) -> RunData:
    """Return the training and validation cases of a dataset; crops go beside it by default.

    Raises:
        BadInputError: there is no split, or one of the two parts has no case.
    """
    dataset, split = open_split(folder)
    data = RunData(
        dataset=dataset,
        training=tuple(dataset.case_ids(split.training)),
        validation=tuple(dataset.case_ids(split.validation)),
        crops=crops or folder / "crops",
    )
    for name in ("training", "validation"):
        if not getattr(data, name):
            raise BadInputError("empty_part", f"no case of {dataset.name} is for {name}")
    return data


def part_cases(folder: Path, part: str) -> tuple[Dataset, tuple[str, ...]]:
    """Return the cases of a part of the split, or of the whole dataset for `all`.

    Raises:
        BadInputError: there is no split, or the part has no case.
    """
    if part == "all":
        dataset = open_dataset(folder)
        cases = tuple(facts.case_id for facts in dataset.facts())
    else:
        dataset, split = open_split(folder)
        cases = tuple(dataset.case_ids(getattr(split, part)))
    if not cases:
        raise BadInputError("empty_part", f"no case of {dataset.name} is in {part}")
    return dataset, cases


def json_or_text(value: str) -> Any:  # noqa: ANN401  # Any: json
    """Read a value of the command line; names of losses and networks need no quotes."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _pair(setting: str) -> tuple[str, Any]:  # Any: json value
    name, separator, text = setting.partition("=")
    if not separator:
        raise BadInputError("setting", f"{setting!r} is not like training.batch_size=8")
    return name, json_or_text(text)


def _read_json(path: Path) -> Any:  # noqa: ANN401  # Any: json
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInputError("config", f"{path} is no json: {error}") from error
