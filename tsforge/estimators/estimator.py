"""One estimator class per catalog row, its arguments read off the constructor of the row's class."""

from collections.abc import Mapping, Sequence
from functools import cache
from inspect import Parameter, Signature, cleandoc
from typing import Any, get_type_hints

from tsforge.errors import UnknownNameError, suggest
from tsforge.estimators.base import Estimator
from tsforge.estimators.deep import Deep
from tsforge.estimators.local import LOCAL_TRAINING, Local
from tsforge.estimators.nested import WAYS
from tsforge.estimators.parameters import own_arguments, unknown_argument, with_tuples
from tsforge.estimators.tasks import TaskDeep
from tsforge.local import LOCAL
from tsforge.models import MODELS
from tsforge.models.base import Model
from tsforge.training.arguments import TRAINING, TrainArguments
from tsforge.training.specs import Spec
from tsforge.training.tasks import TaskSpec

TASK = Parameter("task", Parameter.KEYWORD_ONLY, default="forecast", annotation=TaskSpec)


@cache
def estimator(name: str) -> type[Any]:
    """The estimator of one row of the models or the local models.

    Raises:
        UnknownNameError: there is no such row; names the nearest.
    """
    if name in MODELS:
        base = TaskDeep if len(MODELS[name].tasks) > 1 else Deep
        return _derived(name, MODELS[name], base, {"input_size": None}, TRAINING)
    if name in LOCAL:
        return _derived(name, LOCAL[name], Local, {}, LOCAL_TRAINING)
    hint = suggest(name, [*MODELS, *LOCAL]) or f" There are: {', '.join([*MODELS, *LOCAL])}."
    raise UnknownNameError(f"There is no model named {name!r}.{hint}")


def from_recipe(recipe: Mapping[str, Any]) -> Estimator:
    """The estimator that the `model`, `encoder`, `context`, `task` and `train` parts of a recipe describe.

    `to_recipe` is the inverse.

    Raises:
        UnknownNameError: there is no such model.
        UnknownArgumentError: it has no such argument.
    """
    model = dict(recipe["model"])
    made = estimator(model.pop("name"))
    ways = {way: recipe[way] for way in (*WAYS, "task") if recipe.get(way) is not None}
    encoder, default = ways.get("encoder"), getattr(getattr(made, "network", None), "encoder_default", None)
    if isinstance(encoder, Mapping) and default is not None and not {"name", "class"} & encoder.keys():
        ways["encoder"] = {"name": default, **encoder}  # arguments alone are of the encoder that the model has anyway
    return made(**with_tuples(model, model), **ways, **recipe.get("train", {}))


def _derived(
    key: str, network: type, base: type, given: dict[str, Any], training: Mapping[str, Any]
) -> type[Any]:
    kind = Parameter.KEYWORD_ONLY
    hints = get_type_hints(TrainArguments) | {"errors": str, "workers": int | None}
    tasked = issubclass(base, TaskDeep)  # some tasks have no horizon
    needed: dict[str, Any] = {"default": None, "annotation": int | None} if tasked else {"annotation": int}
    positional = [Parameter("h", Parameter.POSITIONAL_OR_KEYWORD, **needed)]
    positional += [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=value, annotation=int | None)
        for name, value in given.items()
    ]
    own = list(own_arguments(network).values())
    sign = Signature(
        [
            Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
            *positional,
            *(p.replace(kind=kind) for p in own),
            *((TASK,) if tasked else ()),
            *(_ways(network) if issubclass(base, Deep) else ()),
            *(Parameter(name, kind, default=value, annotation=hints[name]) for name, value in training.items()),
        ]
    )
    title = network.__name__

    def __init__(*args: Any, **kwargs: Any) -> None:
        unknown = next((name for name in kwargs if name not in sign.parameters), None)
        if unknown is not None:
            raise unknown_argument(title, unknown, [name for name in sign.parameters if name != "self"])
        try:
            bound = sign.bind(*args, **kwargs)
        except TypeError as error:
            names = ", ".join(p.name for p in positional)
            raise TypeError(
                f"{title}: {error}. It needs h, the number of steps to forecast; by position it takes {names} alone."
            ) from None
        bound.apply_defaults()
        self, *values = bound.arguments.values()
        for name, value in zip(list(bound.arguments)[1:], values, strict=True):
            setattr(self, name, value)

    def from_recipe_of_class(cls: type, recipe: Mapping[str, Any]) -> Any:
        """The estimator of a recipe; the inverse of `to_recipe`."""
        return from_recipe(recipe)

    __init__.__signature__ = sign  # pyright: ignore[reportFunctionMemberAccess]  # scikit-learn, help() and stubs read it
    doc = cleandoc(network.__doc__ or "")
    if issubclass(base, Deep):
        doc += (
            "\n\nIt forecasts h steps from the last input_size (None: 2 h, rounded up to a season). The arguments of "
            "training\nare those of `tsforge.training.arguments.TrainArguments`; docs/encoders.md tells of encoders."
        )
    return type(
        title,
        (base,),
        {
            "__init__": __init__,
            "__doc__": doc,
            "__module__": "tsforge",
            "network": network,
            "key": key,
            "from_recipe": classmethod(from_recipe_of_class),
        },
    )


def _ways(network: type[Model]) -> list[Parameter]:
    """The two ways in for encoders: in the place of the embedding, where there is one for them, and as context."""
    kind, one = Parameter.KEYWORD_ONLY, Spec | None
    taken = network.encoder_takes is not None
    encoder = [Parameter("encoder", kind, default=network.encoder_default, annotation=one)] if taken else []
    return [*encoder, Parameter("context", kind, default=None, annotation=Spec | Sequence[Spec] | None)]
