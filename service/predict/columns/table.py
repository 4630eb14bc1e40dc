"""From the cells of all columns to instances, with warnings for what training had not."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple, NoReturn

import numpy as np

from perceptron import UNKNOWN
from service.http.nearest import nearest
from service.http.parsing import refuse
from service.predict.columns.codes import Cells, Codes, codes_of, shown
from service.predict.columns.warnings import MAX_SHOWN, InputWarning, InputWarnings
from service.predict.inputs import InputColumn, Inputs
from service.predict.instances import Instances, TableRows

_MAX_NAME = 128
_MAX_GIVEN = 100_000
_NONE_IS_SET = "all of its features are 0"


class ExtraNames(NamedTuple):
    """What a body has that is no column of the model."""

    first_at: Mapping[str, int] = MappingProxyType({})
    """The index of the first row that has each name, or of the name among those of a table; in ascending order."""
    pointer_to: Callable[[int, str], str] = lambda index, name: ""
    """Gives the place of a name by that index."""


def as_instances(
    columns: Sequence[Cells],
    inputs: Inputs,
    pointer: str,
    *,
    is_by_row: bool = True,
    extra: ExtraNames = ExtraNames(),  # noqa: B008 (immutable)
) -> Instances:
    """Return the instances that cells stand for.

    Args:
        columns: in the order of the model's, all of one length, at least 1.
        extra: is ignored, with a warning.

    Raises:
        InvalidRequestError: a cell is not of its column's type.
    """
    assert inputs.encoder is not None  # else there are no columns
    codes = np.empty((len(columns[0].values), len(columns)), order="F")
    for j, (of_column, column) in enumerate(zip(columns, inputs.columns, strict=True)):
        codes[:, j] = codes_of(of_column, column)
    return Instances(TableRows(codes, inputs.encoder), pointer, is_by_row, _warnings(codes, columns, inputs, extra))


def _warnings(codes: Codes, columns: Sequence[Cells], inputs: Inputs, extra: ExtraNames) -> InputWarnings | None:
    """Return the warnings about names, then those about cells by row and column; None: there are none."""
    is_doubtful = (codes == UNKNOWN) & inputs.is_categorical | np.isnan(codes) & inputs.is_never_missing
    n = len(extra.first_at) + int(np.count_nonzero(is_doubtful))
    if n == 0:
        return None
    first = [_about_name(extra, name, at) for name, at in islice(extra.first_at.items(), MAX_SHOWN // 2)]
    for i, j in np.argwhere(is_doubtful)[: MAX_SHOWN - len(first)].tolist():
        first.append(_about_cell(columns[j], i, inputs.columns[j], is_missing=bool(np.isnan(codes[i, j]))))
    return InputWarnings(n, tuple(first))


def _about_name(extra: ExtraNames, name: str, at: int) -> InputWarning:
    shown_name = name[:_MAX_NAME]
    detail = f"the model has no column {shown_name!r}: it is ignored"
    return InputWarning(extra.pointer_to(at, shown_name), "unknown_key", detail)


def _about_cell(cells: Cells, index: int, column: InputColumn, *, is_missing: bool) -> InputWarning:
    name, pointer = column.name[:_MAX_NAME], cells.pointer_to(index)
    if not is_missing:
        detail = f"{shown(cells.values[index])} did not occur in column {name!r} in training: {_NONE_IS_SET}"
        return InputWarning(pointer, "unknown_category", detail)
    instead = _NONE_IS_SET if column.kind == "categorical" else f"its mean, {column.mean!r}, is used"
    return InputWarning(pointer, "missing_value", f"column {name!r} was never missing in training: {instead}")


def refuse_missing(name: str, given: Iterable[str], inputs: Inputs, pointer: str, detail: str) -> NoReturn:
    """Raise the error for a column that a body lacks, with the name that was probably meant.

    Args:
        given: the names that the body has.

    Raises:
        InvalidRequestError: always.
    """
    columns = set(inputs.names)
    near = nearest(name, (other for other in given if other not in columns))
    refuse(pointer, detail if near is None else f"{detail}; {near!r} is given, which is no column of the model")


def match_names(
    given: Sequence[str], inputs: Inputs, pointer: str, pointer_to: Callable[[int], str]
) -> tuple[list[int], ExtraNames]:
    """Find the columns of the model among those of a table.

    Args:
        pointer: where their names are.
        pointer_to: gives the place of one name.

    Returns:
        The index of each column of the model, and all other columns but the target.

    Raises:
        InvalidRequestError: a column is missing, or there are two of one name.
    """
    if len(given) > _MAX_GIVEN:
        refuse(pointer, f"must have at most {_MAX_GIVEN} columns, not {len(given)}")
    index_of = {name: k for k, name in enumerate(given)}
    if len(index_of) < len(given):
        name = next(name for k, name in enumerate(given) if index_of[name] != k)
        refuse(pointer_to(index_of[name]), f"has two columns {name[:_MAX_NAME]!r}")
    missing = next((name for name in inputs.names if name not in index_of), None)
    if missing is not None:
        refuse_missing(missing, given, inputs, pointer, f"has no column {missing[:_MAX_NAME]!r}")
    known = {*inputs.names, inputs.target}
    extra = {name: k for name, k in index_of.items() if name not in known}
    return [index_of[name] for name in inputs.names], ExtraNames(extra, lambda k, _: pointer_to(k))
