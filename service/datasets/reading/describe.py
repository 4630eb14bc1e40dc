"""The schema of a column, from what was read of it."""

from dataclasses import replace

from service.datasets.reading.classes import Look
from service.datasets.reading.column_types import uselessness
from service.datasets.reading.output import OutputColumn
from service.datasets.reading.statistics import NumberStatistics
from storage.datasets.schema import CategoryCount, ColumnSchema, TableWarning

N_MOST_FREQUENT = 10


def describe(column: OutputColumn, statistics: NumberStatistics | None) -> ColumnSchema:
    """Describe a column that was written."""
    read, kind = column.read, column.verdict.type
    is_text = kind == "categorical"
    n_spelled = 0 if is_text else int(read.tally.counts[Look.NULL_SPELLING])
    schema = ColumnSchema(
        name=column.name,
        type=kind,
        use=True,
        nulls=read.n_nulls + n_spelled,
        distinct=0,
        # without null_values, texts keep the spellings as categories
        null_spellings=() if is_text and read.rules.null_values is None else tuple(sorted(read.tally.spellings)),
        warnings=column.verdict.warnings,
    )
    if read.tally.was_trimmed:
        schema = _warned(schema, "whitespace_trimmed", "blanks around its values were removed")
    if statistics is not None and statistics.moments is not None:
        return _with_numbers(schema, statistics)
    if kind == "categorical":
        return _with_categories(schema, column)
    if kind == "date":
        schema = _with_distinct(schema, column)
        advice = "dates are not used; send days since a date, or a part such as the month as a category"
        return _warned(schema, "dates_not_used", advice, use=False)
    return _warned(schema, "all_missing", "has no value at all; it is not used", use=False)


def _with_numbers(schema: ColumnSchema, statistics: NumberStatistics) -> ColumnSchema:
    distinct, is_exact = statistics.distinct
    schema = replace(
        schema,
        distinct=distinct,
        distinct_is_exact=is_exact,
        mean=statistics.mean,
        std=statistics.std,
        min=statistics.min,
        max=statistics.max,
        quantiles=statistics.quantiles,
    )
    return _constant(schema) if statistics.is_constant and schema.nulls == 0 else schema


def _with_categories(schema: ColumnSchema, column: OutputColumn) -> ColumnSchema:
    schema = _with_distinct(schema, column)
    schema = replace(schema, n_categories=schema.distinct, categories=column.categories)
    if column.categories is not None:
        most = sorted(column.counts.items(), key=lambda each: (-each[1], each[0]))[:N_MOST_FREQUENT]
        schema = replace(schema, most_frequent=tuple(CategoryCount(*each) for each in most))
        folded: dict[str, str] = {}
        for category in column.categories:
            if (other := folded.setdefault(category.casefold(), category)) != category:
                detail = f"{other[:60]!r} and {category[:60]!r} differ only in case: they are two categories"
                schema = _warned(schema, "categories_differ_in_case", detail)
                break
    if schema.distinct == 1 and schema.distinct_is_exact and schema.nulls == 0:
        return _constant(schema)
    if (warning := uselessness(column.read, column.limits)) is not None:
        return _warned(schema, warning.code, warning.detail, use=False)
    return schema


def _with_distinct(schema: ColumnSchema, column: OutputColumn) -> ColumnSchema:
    levels = column.read.levels
    distinct, is_exact = levels.distinct
    if schema.type == "categorical" and levels.is_complete:
        distinct = len(column.counts)  # 1 and 1.0 may be one
    return replace(schema, distinct=distinct, distinct_is_exact=is_exact)


def _constant(schema: ColumnSchema) -> ColumnSchema:
    return _warned(schema, "constant", "all rows have the same value; it is not used", use=False)


def _warned(schema: ColumnSchema, code: str, detail: str, *, use: bool = True) -> ColumnSchema:
    return replace(schema, use=schema.use and use, warnings=(*schema.warnings, TableWarning(code, detail)))
