import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from perceptron import UNKNOWN, Column, TableEncoder

NAN = float("nan")
AGE, PLAN, MEMBER = Column("age", "numeric"), Column("plan", "categorical", ("basic", "pro")), Column("m", "boolean")


def learned(
    columns: list[Column], table: np.ndarray, weights: np.ndarray | None = None
) -> tuple[TableEncoder, np.ndarray]:
    encoder = TableEncoder.learn(columns, [(table, weights)])
    return encoder, encoder.recode(columns, table)


def test_numbers_stay_and_each_level_is_a_feature() -> None:
    encoder, table = learned([AGE, PLAN, MEMBER], np.array([[20.0, 1, 0], [40, 0, 1]]))

    assert encoder.feature_names == ("age", "plan=basic", "plan=pro", "m")
    assert encoder.encode(table).tolist() == [[20, 0, 1, 0], [40, 1, 0, 1]]


def test_a_missing_number_is_the_mean_and_has_an_indicator_where_training_had_gaps() -> None:
    encoder, table = learned([AGE, MEMBER], np.array([[1.0, 1], [NAN, 0], [4, 0]]))

    assert encoder.feature_names == ("age", "age:missing", "m")
    assert encoder.encode(table).tolist() == [[1, 0, 1], [2.5, 1, 0], [4, 0, 0]]
    assert encoder.encode(np.array([[7.0, NAN]])).tolist() == [[7, 0, pytest.approx(1 / 3)]]  # no gaps there


def test_a_missing_category_is_a_level_of_its_own_and_an_unknown_one_is_all_zeros() -> None:
    encoder, table = learned([PLAN], np.array([[1.0], [NAN], [0]]))

    assert encoder.feature_names == ("plan=<missing>", "plan=basic", "plan=pro")
    assert encoder.encode(table).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert encoder.encode(np.array([[UNKNOWN]])).tolist() == [[0, 0, 0]]


def test_a_missing_category_is_all_zeros_where_training_had_no_gaps() -> None:
    encoder, _ = learned([PLAN], np.array([[1.0], [0]]))

    assert encoder.encode(np.array([[NAN]])).tolist() == [[0, 0]]


def test_a_level_that_no_row_has_is_dropped() -> None:
    levels = Column("plan", "categorical", ("basic", "plus", "pro"))

    encoder, table = learned([levels], np.array([[2.0], [0], [NAN]]))

    assert encoder.columns[0].levels == ("basic", "pro")
    assert table[:2].tolist() == [[1], [0]]


def test_a_row_that_counts_twice_is_the_row_twice() -> None:
    rows = np.array([[1.0, 0], [NAN, 1], [4, 1]])

    weighted, _ = learned([AGE, PLAN], rows, np.array([2.0, 1, 1]))
    repeated, _ = learned([AGE, PLAN], rows[[0, 0, 1, 2]])

    assert weighted == repeated


def test_blocks_of_rows_give_what_all_together_give() -> None:
    table = np.array([[1.0, 0], [NAN, 1], [4, 1], [7, NAN], [0, 0]])

    together, _ = learned([AGE, PLAN], table)
    by_blocks = TableEncoder.learn([AGE, PLAN], [(table[:2], None), (table[2:3], None), (table[3:], None)])

    assert by_blocks == together


def test_the_mean_of_numbers_near_the_largest_does_not_overflow() -> None:
    encoder, _ = learned([AGE], np.array([[1.7e308], [1.7e308], [NAN]]))

    assert encoder.columns[0].mean == pytest.approx(1.7e308)


def test_it_is_scikit_learns_one_hot_encoder_and_imputer_with_indicator() -> None:
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.normal(size=200), rng.integers(0, 4, 200)])
    table[rng.random(table.shape) < 0.2] = NAN
    unseen = np.column_stack([rng.normal(size=20), rng.integers(-1, 4, 20)])
    levels = Column("c", "categorical", ("a", "b", "c", "d"))
    theirs = ColumnTransformer(
        [
            ("numbers", SimpleImputer(add_indicator=True), [0]),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [1]),
        ]
    )
    expected = theirs.fit_transform(table)

    encoder, codes = learned([AGE, levels], table)

    missing_first = [0, 1, 6, 2, 3, 4, 5]  # theirs comes last, as NaN sorts there
    assert np.allclose(encoder.encode(codes), expected[:, missing_first], rtol=1e-14)
    assert np.allclose(encoder.encode(unseen), theirs.transform(unseen)[:, missing_first], rtol=1e-14)


def test_numbers_that_stand_for_a_missing_value_are_missing() -> None:
    column = Column("a", "numeric", null_values=("-999", "unknown"))
    table = np.array([[1.0], [-999.0], [NAN], [3.0]])
    encoder = TableEncoder.learn([column], [(table, None)])
    assert encoder.columns[0].mean == 2.0  # of 1 and 3
    np.testing.assert_array_equal(encoder.encode(table), [[1, 0], [2, 1], [2, 1], [3, 0]])
    of_codes = Column("c", "categorical", ("p", "q"), has_gaps=True, null_values=("0",))
    np.testing.assert_array_equal(TableEncoder((of_codes,)).encode(np.array([[0.0], [1.0]])), [[0, 1, 0], [0, 0, 1]])
