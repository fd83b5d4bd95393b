"""Tables: read from wherever they lie, made into a matrix by what training has shown, in files."""

import datetime
import sys
import warnings

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import library
from xpnet import tables
from xpnet.tables import Preparation, Target, read

CSV = """\
age,city,member,price,grade
31, Rome ,true,1.5,good
NA,Oslo,false,2.25,bad
47,?,true,1e2,good
52,Rome,,0.125,bad
"""


def written(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def frame():
    """The table of CSV as columns of Python's objects."""
    return {
        "age": [31, None, 47, 52],
        "city": ["Rome", "Oslo", None, "Rome"],
        "member": [True, False, True, None],
        "price": [1.5, 2.25, 100.0, 0.125],
        "grade": ["good", "bad", "good", "bad"],
    }


def as_pandas(columns):
    return library("pandas").DataFrame(columns)


def as_polars(columns):
    return library("polars").DataFrame(columns)


def as_pyarrow(columns):
    library("pyarrow")
    return library("pyarrow").table(columns)


FRAMES = pytest.mark.parametrize("make", [as_pandas, as_polars, as_pyarrow])


# ---- reading


@FRAMES
def test_a_frame_and_a_csv_are_the_same_table(make, tmp_path):
    one = Preparation.fit(written(tmp_path, CSV), "grade")
    other = Preparation.fit(make(frame()), "grade")
    assert one == other
    data = make(frame())
    np.testing.assert_array_equal(one.transform(data), one.transform(tmp_path / "a.csv"))
    assert one.targets(data).tolist() == [1, 0, 1, 0]
    assert one.target.decode(one.targets(data)).tolist() == frame()["grade"]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("without", [None, "polars"])
def test_parquet_and_arrow_are_read_by_polars_or_pyarrow(suffix, without, tmp_path, monkeypatch):
    library("pyarrow.parquet")
    frames = as_polars(frame())
    path = tmp_path / f"a{suffix}"
    (frames.write_parquet if suffix == ".parquet" else frames.write_ipc)(path)
    if without:
        monkeypatch.setitem(sys.modules, without, None)
    assert Preparation.fit(path, "grade") == Preparation.fit(written(tmp_path, CSV), "grade")


def test_without_polars_and_pyarrow_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    for name in ("polars", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"a file of parquet, .* needs the package pyarrow"):
        read(written(tmp_path, b"", "a.parquet"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_file_of_texts_says_itself_what_stands_between_its_cells(delimiter, tmp_path):
    text = f'\ufeffa{delimiter}b\r\n1{delimiter}"x{delimiter}y"\r\n\r\n2{delimiter}z\r\n'
    table = read(written(tmp_path, text, "a.tsv"))
    assert [column.values.tolist() for column in table.columns] == [[1, 2], [f"x{delimiter}y", "z"]]


def test_an_array_in_a_file_is_read_where_it_lies(tmp_path):
    x = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "x.npy", x)
    table = read(tmp_path / "x.npy")
    assert isinstance(table["0"].values.base, np.memmap) and table.names == ["0", "1", "2"]
    np.savez(tmp_path / "x.npz", x=x, y=np.array(["a", "b", "a", "b"]))
    found = read(str(tmp_path / "x.npz"))
    assert found.names == ["x.0", "x.1", "x.2", "y"] and found["y"].values.tolist() == [*"abab"]
    fields = np.array([(1, 2.5), (3, 4.5)], dtype=[("a", int), ("b", float)])
    np.save(tmp_path / "f.npy", fields)
    assert read(tmp_path / "f.npy")["b"].values.tolist() == [2.5, 4.5]


@pytest.mark.parametrize("name", ["iris", "wine", "digits"])
def test_well_known_data_sets_are_tables(name):
    library("sklearn")
    table = read(name)
    found = Preparation.fit(table, "target")
    classes = {"iris": "setosa", "wine": "class_0", "digits": 0}
    assert found.target.classes[0] == classes[name]
    assert found.transform(table).shape == (len(table), found.features)


def test_arrays_of_any_library_are_tables(backend):
    x = backend.asarray(np.array([[1.0, 2.0], [3.0, 5.0]]), "float64")
    assert [column.values.tolist() for column in read(x).columns] == [[1, 3], [2, 5]]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", b"", "must be a file with a line of names, but .* is empty"),
        ("a.csv", b"a,b\n", "must have rows, but .* has a line of names alone"),
        ("a.csv", b"a,b\n1,2\n3\n", "must have 2 cells in each row, .* but row 1 .* has 1"),
        ("a.csv", b"a,b\nZ\xfcrich,2\n", "must be a file in UTF-8, but .* has the byte 0xfc"),
        ("a.csv", b"a,a\n1,2\n", "names of their own, but two are called 'a'"),
        ("a.csv", b"5.1,3.5\n1,2\n", "first line has the names of the columns, .* has numbers"),
        ("a.csv", b'a,b\n"1,2\n', "must be a csv, but .* is none"),
        ("a.npy", b"no array", "must be a file of arrays .* is none"),
        ("a.npz", b"PK\x03\x04", "must be a file of arrays .* is none"),
        ("a.parquet", b"none", "must be a file of parquet, but .* is none, or is damaged"),
        ("a.xlsx", b"none", r"name ends in one of \.csv"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_sentence(name, text, said, tmp_path):
    if name.endswith("parquet"):
        library("polars")
    with pytest.raises(ValueError, match=said) as told:
        read(written(tmp_path, text, name))
    assert "\n" not in str(told.value) and str(told.value).endswith(".")


def test_a_mistyped_path_is_told_with_the_nearest_one(tmp_path):
    path = written(tmp_path, CSV, "train.csv")
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*train\.csv'\?"):
        read(path.with_name("tain.csv"))
    with pytest.raises(FileNotFoundError, match=r"did you mean 'iris'\?"):
        read("irs")
    with pytest.raises(IsADirectoryError, match="must be a file, not the folder"):
        read(tmp_path)
    with pytest.raises(TypeError, match=r"must be a path, a frame, .* not 3"):
        read(3)


def test_what_is_masked_is_not_read_as_if_it_were_there():
    masked = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 1], [0, 0]])
    for data in (masked, {"a": masked[:, 0]}):
        with pytest.raises(TypeError, match="data must be a plain array, not a masked one"):
            read(data)


# ---- preparing


def test_numbers_are_standardized_by_what_was_there_in_training():
    values = np.array([1.0, np.nan, 4.0, 7.0, 2.0])
    table = {"a": values, "b": np.arange(5)}
    found = Preparation.fit(table).transform(table)
    known = values[~np.isnan(values)]
    filled = np.where(np.isnan(values), 3.0, values)  # the median of 1, 2, 4, 7
    np.testing.assert_array_equal(found[:, 0], (filled - known.mean()) / known.std())
    np.testing.assert_array_equal(found[:, 2], [0, 1, 0, 0, 0])  # where a is missing
    new = Preparation.fit(table).transform({"a": [4.0], "b": [np.nan]})
    assert new[0, 1] == 0.0  # the median of b, which never was missing


def test_quantiles_are_those_of_scikit_learn_between_the_outermost():
    sklearn = library("sklearn.preprocessing")
    values = np.random.default_rng(0).lognormal(size=(3000, 1))
    ours = Preparation.fit(values, numbers="quantile").transform(values)
    theirs = sklearn.QuantileTransformer(
        n_quantiles=256, output_distribution="normal", subsample=None
    ).fit_transform(values)
    inner = np.abs(theirs[:, 0]) < 2
    # Theirs is straight in the share p, ours in z(p): apart by at most h²/8 · max |z''|, with
    # h = 1/255 and z'' = z / φ(z)² = 2 / 0.054² = 686 at z = 2: 0.0013.
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1.4e-3, rtol=0)
    assert np.abs(ours).max() < 3.6  # half a sample of 3000: 3.585


def test_a_value_that_many_have_is_in_the_middle_of_its_quantiles():
    values = np.repeat([0.0, 1.0, 2.0], 100)[:, None]
    found = Preparation.fit(values, numbers="quantile").transform(values)
    np.testing.assert_allclose(found[[0, 150, 299], 0], [found[0, 0], 0, -found[0, 0]], atol=1e-12)
    assert -2.9 < found[0, 0] < -1


def test_columns_are_found_by_name_in_any_order_and_dtype(tmp_path):
    found = Preparation.fit(written(tmp_path, CSV), "grade", categories=["member"])
    data = frame()
    data["price"] = [str(price) for price in data["price"]]  # numbers in texts
    data["member"] = [1.0, 0.0, 1.0, None]
    turned = dict(reversed(data.items()))
    np.testing.assert_array_equal(found.transform(turned), found.transform(tmp_path / "a.csv"))


def test_what_was_not_there_in_training_has_the_code_0():
    found = Preparation.fit({"a": ["x", "y", "x", None], "n": [1, 2, 3, 4]})
    assert found.sizes == (3,) and found.numeric == 1
    assert found.transform({"a": ["z", None, "y"], "n": [1, 2, 3]})[:, 1].tolist() == [0, 0, 2]


def test_a_column_of_one_value_is_left_out():
    found = Preparation.fit({"a": [1, 2, 3], "b": [5, 5, 5], "c": ["x", "x", "x"]})
    assert found.left_out == ("b", "c") and found.features == 1
    assert found.transform({"a": [2]}).tolist() == [[0.0]]  # and need not be there
    with pytest.raises(ValueError, match="a column that is not the same in all 3 rows"):
        Preparation.fit({"b": [5, 5, 5]})


def test_columns_that_are_missing_or_beside_are_told():
    found = Preparation.fit({"age": [1, 2, 3], "city": ["a", "b", "a"], "y": [0, 1, 0]}, "y")
    with pytest.raises(ValueError, match=r"lacks 'age', and has 'Age' beside them\."):
        found.transform({"Age": [1], "city": ["a"]})
    with pytest.warns(RuntimeWarning, match="data has 'id' beside the columns of training"):
        found.transform({"age": [1], "city": ["a"], "id": [7]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.transform({"age": [1], "city": ["a"], "y": [7]})  # the target is known


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"d": ["2024-01-31", "2024-02-28"]}, r"not dates\. Say what matters .* drop=\['d'\]"),
        ({"d": [datetime.date(2024, 1, 31), None]}, "not dates"),
        ({"d": np.array(["2024-01-31"], dtype="datetime64[D]")}, "not dates"),
        ({"a": [np.nan, np.nan]}, r"in the 2 rows .* where all is missing; .* drop=\['a'\]"),
        ({"a": [1.0, np.inf, 2.0]}, "finite numbers, but that of row 1 .* is infinite"),
        ({"a": [str(i) for i in range(19)] + ["1O"]}, "1 of 20 are none, first '1O' in row 19"),
        ({"a": ["1", "2", "1"]}, "all are numbers in quotes; .* categories="),
        ({"a": ["0,5", "-3,25", None, "2"]}, "2 of 3 are numbers written as '0,5'; .* drop="),
        ({"a": ["1,234.50", "1'000", "12,000,000"]}, "3 of 3 are numbers written as '1,234.50'"),
        ({"a": ["$12", "-$3.5", "€ 1.234,50"]}, "3 of 3 are numbers written as '[$]12'"),
        ({"a": ["40 %", "3,5%"]}, "2 of 2 are numbers written as '40 %'"),
        ({"a": [f"id {i}" for i in range(21)]}, "not 21 that are all others, .* drop="),
        ({"a": [1, "x"]}, "all of one kind, not 1 and 'x'"),
        ({"a": [[1], [2]]}, r"must hold numbers, texts or dates, .* not \[1\]"),
        ({"": [1, 2]}, "a name for each column, but one has none"),
        ({"a": [1e200, -1e200]}, "squares are finite, not 1e"),
    ],
)
def test_columns_that_cannot_be_learnt_of_are_told_with_the_cure(columns, said):
    with pytest.raises(ValueError, match=said) as told:
        Preparation.fit(columns)
    assert "\n" not in str(told.value)


def test_texts_with_digits_are_categories():
    for texts in (["18-25", "26-40"], ["192.168.100.1", "10.0.0.1"], ["1,5", "a"], ["5 kg", "1,2"]):
        assert Preparation.fit({"a": texts}).sizes == (3,)
    assert Preparation.fit({"a": ["1,5", "2,5"]}, categories=["a"]).sizes == (3,)


def test_a_column_written_another_way_than_in_training_is_warned_of():
    cities = ["Ulm", "Kiel", "Bonn", None] * 5
    found = Preparation.fit({"city": cities})
    lower = [None if city is None else city.lower() for city in cities]
    said = "column 'city' has 15 of 15 texts that were not .* 'ulm' in row 0 .* 'Kiel', 'Ulm'"
    with pytest.warns(RuntimeWarning, match=said):
        assert not found.transform({"city": lower}).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.transform({"city": ["Rome"]})  # one row may be new
        found.transform({"city": cities[:15] + ["Rome"] * 5})
        found.transform({"city": [None] * 20})


def test_what_the_cure_says_is_done():
    data = {"day": ["2024-01-31"] * 3, "a": [1, 2, 3], "zip": [1, 2, 1]}
    found = Preparation.fit(data, drop=["day"], categories=["zip"])
    assert found.names == ("a", "zip") and found.sizes == (3,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.transform(data)  # and knows what was left out
    with pytest.raises(ValueError, match=r"drop must be one of day, a, zip, not 'dey'; did"):
        Preparation.fit(data, drop=["dey"])
    with pytest.raises(TypeError, match=r"drop must be a list of names, as \['day'\]"):
        Preparation.fit(data, drop="day")


def test_numbers_must_stay_numbers():
    found = Preparation.fit({"a": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"column 'a' must hold numbers, but 'x' in row 1"):
        found.transform({"a": ["1", "x"]})
    with pytest.raises(ValueError, match="must be one of a, not 'b'"):
        Preparation.fit({"a": [1, 2]}, "b")


# ---- targets


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", "b"], ("a", "b")),
        ([True, False, True], (False, True)),
        ([3, 1, 3], (1, 3)),
        ([3.0, 1.0, 3.0], (1, 3)),
        ([3.5, 1.0, 3.0], ()),
        (list(range(21)), ()),
    ],
)
def test_what_is_predicted_follows_from_the_target(values, classes):
    column = read({"y": values})["y"]
    found = Target.of(column)
    assert found.classes == classes and [*map(type, found.classes)] == [*map(type, classes)]
    assert found.decode(found.encode(column)).tolist() == values


def test_targets_that_do_not_fit_are_told():
    found = Target.of(read({"y": ["a", "b"]})["y"])
    with pytest.raises(
        ValueError, match=r"of the 2 classes of the training, a, b, but row 1 .* 'c'"
    ):
        found.encode(read({"y": ["a", "c"]})["y"])
    with pytest.raises(ValueError, match="missing in 2 of 3, first in row 1"):
        found.encode(read({"y": ["a", None, None]})["y"])
    with pytest.raises(ValueError, match=r"two different values at least, .* not 'a' alone"):
        Target.of(read({"y": ["a", "a"]})["y"])
    with pytest.raises(ValueError, match="must hold numbers, but 'a' in row 0"):
        Target.of(read({"y": ["a", "b"]})["y"], "regression")


# ---- in files


@pytest.mark.parametrize("numbers", tables.preparation.WAYS)
def test_a_preparation_goes_wherever_its_model_goes(numbers, tmp_path):
    library("safetensors")
    table = written(tmp_path, CSV)
    found = Preparation.fit(table, "grade", numbers=numbers)
    net = xn.Sequential(xn.Linear(found.features, 1))
    theta = net.init(0, members=2, like=np.zeros(1))
    model = xn.Model(net, theta, xn.BCEWithLogits(), preparation=found)
    assert model.member(1).preparation is found
    for weights_only in (False, True):
        model.save(tmp_path / "m.safetensors", weights_only=weights_only)
        again = xn.load(tmp_path / "m.safetensors").preparation
        assert again == found
        assert again.transform(table).tobytes() == found.transform(table).tobytes()
    with pytest.raises(ValueError, match=r"preparation must give the 6 features .* not 1"):
        model.preparation = Preparation.fit({"a": [1, 2]})
    with pytest.raises(TypeError, match="must be a Preparation of a table, not 3"):
        model.preparation = 3


def test_a_preparation_is_made_of_what_it_says():
    one = tables.Number("a", 1.0)
    with pytest.raises(TypeError, match="each of numbers must be a Number, not 3"):
        Preparation((one, 3))
    with pytest.raises(TypeError, match="categories must be a tuple of Category, not 'a'"):
        Preparation((one,), "a")
    with pytest.raises(ValueError, match="column 'a' must have a scale above 0"):
        tables.Number("a", 1.0, scale=0.0)


def test_a_category_has_its_code_whatever_else_its_file_holds(tmp_path):
    """Of a file of numbers or truth values alone these are read; in training there were texts."""

    def codes(*cells):
        text = "a,b\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
        return fitted.transform(written(tmp_path, text))[:, -1].tolist()

    values = ["1.0", "3", "007", "02", "2", "x"]
    rows = "".join(f"{i},{values[i % 6]}\n" for i in range(30))
    fitted = Preparation.fit(written(tmp_path, "a,b\n" + rows, "train.csv"))
    of = {text: code for code, text in enumerate(fitted.categories[0].values, 1)}
    assert codes("1.0", "x") == [of["1.0"], of["x"]]
    assert codes("1.0", "007", "8") == [of["1.0"], of["007"], 0]
    assert codes("02", "2", "2.0", "x") == [of["02"], of["2"], 0, of["x"]]
    assert codes("2") == [of["2"]]
    with pytest.raises(ValueError, match="must say which of"):
        Preparation.fit({"a": range(30), "b": ["02", "2.0", "x"] * 10}).transform(
            {"a": [1.0], "b": [2]}
        )
    member = Preparation.fit({"a": range(30), "b": ["True", "False", "maybe"] * 10})
    assert member.transform({"a": [1.0, 2.0], "b": [True, False]})[:, -1].tolist() == [2, 1]


def test_a_number_that_is_a_category_has_one_code_in_float32_and_float64():
    values = np.array([0.1, 0.25, 1e-5, 3.0] * 10)
    learnt = {"a": np.arange(40.0), "b": values.astype("float32")}
    found = Preparation.fit(learnt, categories=["b"])
    np.testing.assert_array_equal(found.transform({**learnt, "b": values}), found.transform(learnt))
    assert set(found.transform(learnt)[:, -1]) == {1, 2, 3, 4}


def test_a_delimiter_within_a_name_is_none(tmp_path):
    (tmp_path / "a.csv").write_text('"size, in cm, at noon"\tage\n1.5\t2\n3\t4\n')
    assert read(tmp_path / "a.csv").names == ["size, in cm, at noon", "age"]


# ---- what is lost on the way


BIG = [9007199254740993, None, 9007199254740992, 9007199254740993]
"""Whole numbers that are one as floats."""


@FRAMES
def test_ids_that_floats_do_not_tell_apart_stay_apart_beside_a_gap(make):
    if make is as_pandas:
        data = library("pandas").DataFrame({"id": library("pandas").array(BIG, dtype="Int64")})
    else:
        data = make({"id": BIG})
    assert read(data)["id"].texts() == [None if one is None else str(one) for one in BIG]


def test_ids_of_a_csv_stay_apart_and_are_told_where_they_are_no_categories(tmp_path):
    rows = [f"{one},{y}" for one, y in zip(BIG * 2, [0, 1] * 4, strict=True) if one]
    whole = read(written(tmp_path, "\n".join(["id,y", *rows])))
    assert whole["id"].texts()[:2] == ["9007199254740993", "9007199254740992"]
    assert whole["id"].kind == "number"
    holed = read(written(tmp_path, "\n".join(["id,y", *rows, ",1"])))
    made = Preparation.fit(holed, "y", categories=["id"])
    assert made.categories[0].values == ("9007199254740992", "9007199254740993")
    with pytest.raises(ValueError, match=r"column 'id' .* of more digits than a float tells apart"):
        Preparation.fit(holed, "y")
    small = read(written(tmp_path, "n\n1e300\n\n9007199254740992\n"))["n"]
    assert small.kind == "number" and small.values.dtype == float


def test_a_csv_that_is_compressed_is_read(tmp_path):
    import gzip

    path = written(tmp_path, gzip.compress(CSV.encode("utf-8")), "a.csv.gz")
    assert read(path)["city"].texts() == ["Rome", "Oslo", None, "Rome"]
    with pytest.raises(ValueError, match=r"must be a file of gzip, but '.*b.csv.gz' is none"):
        read(written(tmp_path, CSV, "b.csv.gz"))
    with pytest.raises(ValueError, match=r"a file of gzip, but .* is none, or is damaged"):
        read(written(tmp_path, path.read_bytes()[:-9], "c.csv.gz"))


def test_a_name_in_quotes_may_go_on_in_the_next_line(tmp_path):
    table = read(written(tmp_path, '"weight\nin kg";"a, b"\n1;2\n3;4\n'))
    assert table.names == ["weight\nin kg", "a, b"] and len(table) == 2
    assert read(written(tmp_path, 'size 5",b\n1,2\n')).names == ['size 5"', "b"]


def test_names_of_columns_with_commas_between_them_are_told_apart():
    with pytest.raises(ValueError, match="drop must be names of columns one by one, 'age', 'city'"):
        Preparation.fit(frame(), "grade", drop=["age,city"])


def test_a_column_of_very_many_texts_is_warned_of():
    texts = [f"zip {i // 2}" for i in range(2400)]
    with pytest.warns(RuntimeWarning, match="column 'zip' has 1,200 texts in 2.0 rows each"):
        Preparation.fit({"zip": texts, "y": [0.0, 1] * 1200}, "y")


def test_a_pipe_is_told_from_a_file_that_is_not_there(tmp_path):
    import os

    os.mkfifo(tmp_path / "p")
    with pytest.raises(OSError, match=r"data must be a file, not the pipe .*; write a file of it"):
        read(tmp_path / "p")
