"""The bundled table is the published one, and a file that cannot be used is refused in one line."""

import hashlib
import io
import os
import zipfile

import numpy as np
import pytest
import sklearn.datasets

from fastbp.datasets import DataError, load_breast_cancer, read_table


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def refusal(path, target=None):
    """Return the message of the error, without the path before it."""
    with pytest.raises(DataError) as caught:
        read_table(path, target)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_bundled_data():
    data = load_breast_cancer()
    assert data.X.shape == (569, 30) and data.X.dtype == np.float64
    assert data.y.shape == (569,) and data.y.sum() == 212
    assert data.classes == ("benign", "malignant") and data.target_name == "malignant"
    assert data.feature_names[0] == "mean_radius"
    assert data.feature_names[-1] == "worst_fractal_dimension"
    assert "10.24432/C5DW2B" in data.description and data.licence == "CC BY 4.0"
    # SHA-256 of the float64 values, little endian, as scikit-learn 1.9 has them.
    digest = hashlib.sha256(data.X.astype("<f8").tobytes()).hexdigest()
    assert digest == "6b202a2072f9a0385f405a8f8605b1b06f6f36ae6d23d9cd6cbbc0974a416bc7"


def test_bundled_data_is_that_of_scikit_learn():
    theirs = sklearn.datasets.load_breast_cancer()
    ours = load_breast_cancer()
    np.testing.assert_array_equal(ours.X, theirs.data)
    np.testing.assert_array_equal(ours.y, 1 - theirs.target)
    assert ours.feature_names == tuple(name.replace(" ", "_") for name in theirs.feature_names)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
@pytest.mark.parametrize("end_of_line", ["\n", "\r\n", "\r"])
def test_csv_round_trip(tmp_path, delimiter, start, end_of_line):
    X = np.random.default_rng(0).standard_normal((20, 3)) * 10.0 ** np.arange(-200, 201, 200)
    y = np.arange(20) % 2
    lines = [("a", '"b c"', "d", "label")]
    lines += [(*map(repr, row.tolist()), str(label)) for row, label in zip(X, y, strict=True)]
    text = start + "".join(delimiter.join(line) + end_of_line for line in lines) + end_of_line
    data = read_table(write(tmp_path / "t.csv", text))
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, y)
    assert data.feature_names == ("a", "b c", "d") and data.target_name == "label"
    assert data.description == "t.csv"


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        ("yes no no", ("no", "yes"), [1, 0, 0]),
        ("B M B", ("B", "M"), [0, 1, 0]),
        ("1 -1 1.0", ("-1", "1"), [1, 0, 1]),
        ("10 9 9", ("9", "10"), [1, 0, 0]),
        ("0.5 0.25 0.5", ("0.25", "0.5"), [1, 0, 1]),
        ("v2.0 v1.0 v1.0", ("v1.0", "v2.0"), [1, 0, 0]),
        ("True False True", ("False", "True"), [1, 0, 1]),
    ],
)
def test_labels_are_sorted_and_the_second_is_positive(tmp_path, labels, classes, y):
    rows = "".join(f"{label},1\n" for label in labels.split())
    data = read_table(write(tmp_path / "t.csv", "group,a\n" + rows), "group")
    assert data.classes == classes
    np.testing.assert_array_equal(data.y, y)


TABLE = "age,size,target\n1,2,0\n3,4,1\n"


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        ("", None, "is empty"),
        ("\n \n", None, "is empty"),
        ("age,target\n", None, "no data row"),
        ("target\n0\n1\n", None, "no feature column"),
        (TABLE, "sise", "no column 'sise'; did you mean 'size'? the columns are 'age', 'size', 't"),
        (TABLE, "AGE", "did you mean 'age'?"),
        (TABLE, "qqq", "no column 'qqq'; the columns are 'age', 'size', 'target'"),
        (TABLE.replace("target", "class"), None, "none is called target, y or label; the columns"),
        (TABLE.replace("size", "y"), None, "'y', 'target' could each be the target"),
        ("1,2,0\n3,4,1\n", None, "first line holds numbers"),
        (TABLE.replace("size", "age"), None, "2 columns are named 'age'"),
        (TABLE.replace("size", ""), None, "column 2 has no name"),
        (TABLE + "5,6\n", None, "line 4 has 2 cells, the header has 3"),
        (TABLE + "5,6,1,7\n", None, "line 4 has 4 cells"),
        (TABLE + "5,six,1\n", None, "data row 3 (counted from 1 after the header), column 'size': "
         "'six' is not a number"),
        (TABLE + "5,1_000,1\n", None, "'1_000' is not a number"),
        (TABLE + ",6,1\n", None, "column 'age': the cell is empty"),
        (TABLE + "5,NaN,1\n", None, "data row 3 (counted from 1 after the header), column 'size': "
         "the value is nan"),
        (TABLE + "5,1e999,1\n", None, "the value is inf"),
        (TABLE + "5,6,\n", None, "data row 3 (counted from 1 after the header), column 'target': "
         "the label is missing"),
        (TABLE + "5,6,nan\n", None, "the label is nan"),
        (TABLE + "5,6,2\n", None, "'target' must hold two classes, it holds 3: '0', '1', '2'"),
        (TABLE.replace("3,4,1", "3,4,0"), None, "it holds 1: '0'"),
    ],
)
def test_refused_csv(tmp_path, text, target, words):
    assert words in refusal(write(tmp_path / "t.csv", text), target)


def test_message_stays_one_line(tmp_path):
    names = ",".join(f"c{j}" for j in range(500))
    assert "and 460 more" in refusal(write(tmp_path / "wide.csv", names + "\n"))
    path = write(tmp_path / "t.csv", 'a,target\n"line\nbreak' + "x" * 500 + '",1\n')
    assert len(refusal(path)) < 200


@pytest.mark.parametrize("content", [b"\x00\x01\x02", "größe,target\n".encode("latin-1")])
def test_neither_csv_nor_npz(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert "neither a CSV file in UTF-8 nor an NPZ, Parquet or JSON file" in refusal(path)


def test_unreadable_paths(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        os.stat(tmp_path / "missing.csv")      # whose words are the system's
    assert missing.value.strerror in refusal(tmp_path / "missing.csv")
    assert refusal(tmp_path)


X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    "y", [Y, Y[:, None], Y == 1, Y.astype(np.float32), np.array(["no", "yes", "yes", "no"])]
)
def test_npz(tmp_path, y):
    data = read_table(npz(tmp_path / "t.npz", X=X.astype(np.float32), y=y))
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, Y)
    assert data.X.dtype == np.float64 and data.feature_names == ("x1", "x2", "x3")


def test_npz_target_names_an_array(tmp_path):
    path = npz(tmp_path / "t.npz", X=X, y=1 - Y, sick=Y)
    np.testing.assert_array_equal(read_table(path, "sick").y, Y)


@pytest.mark.parametrize(
    ("arrays", "target", "words"),
    [
        ({}, None, "no array 'X' in the NPZ file; it holds nothing"),
        ({"x": X, "y": Y}, None, "no array 'X' in the NPZ file; did you mean 'x'? it holds 'x'"),
        ({"X": X}, None, "no array 'y'"),
        ({"X": X, "y": Y}, "z", "no array 'z'"),
        ({"X": X[0], "y": Y}, None, "X must be numbers of shape (n, n_features)"),
        ({"X": X.astype(str), "y": Y}, None, "X must be numbers"),
        ({"X": X, "y": Y[:3]}, None, "'y' must have shape (4,)"),
        ({"X": X[:0], "y": Y[:0]}, None, "nothing to learn from"),
        ({"X": X[:, :0], "y": Y}, None, "nothing to learn from"),
        ({"X": X * 1j, "y": Y}, None, "array 'X' holds complex128"),
        ({"X": X.astype(object), "y": Y}, None, "array 'X' cannot be read"),
        ({"X": np.where(X == 7, np.nan, X), "y": Y}, None, "X, row 3, column 2 (counted from 1)"),
        ({"X": X, "y": np.where(Y == 1, np.nan, 0)}, None, "'y', row 2 (counted from 1)"),
        ({"X": X, "y": np.arange(4)}, None, "it holds 4: '0', '1', '2', '3'"),
    ],
)
def test_refused_npz(tmp_path, arrays, target, words):
    assert words in refusal(npz(tmp_path / "t.npz", **arrays), target)


def test_damaged_npz(tmp_path):
    path = npz(tmp_path / "t.npz", X=X, y=Y)
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    assert "is not an NPZ file that can be read" in refusal(path)
    path.write_bytes(content.replace(X.tobytes(), X[::-1].tobytes()))  # the check sum is off now
    assert "is not an NPZ file that can be read" in refusal(path)


def test_zip_of_something_else(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("X", "text")
        archive.writestr("y", "text")
    path = tmp_path / "t.npz"
    path.write_bytes(content.getvalue())
    assert "array 'X' holds no array, not numbers" in refusal(path)


@pytest.mark.parametrize(("labels", "classes"), [
    ("9007199254740992 9007199254740993", ("9007199254740992", "9007199254740993")),
    ("1 18446744073709551615", ("1", "18446744073709551615")),
    ("99999999999999999999998 99999999999999999999999",
     ("99999999999999999999998", "99999999999999999999999")),
    ("true false", ("false", "true")), ("01 02", ("1", "2")), ("1 x", ("1", "x"))])
def test_labels_are_not_rounded(tmp_path, labels, classes):
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels.split())
    data = read_table(write(tmp_path / "t.csv", text))
    assert data.classes == classes
    np.testing.assert_array_equal(data.y, [classes.index(each.lstrip("0"))
                                           for each in labels.split()])


def test_large_labels_of_an_npz_file(tmp_path):
    data = read_table(npz(tmp_path / "t.npz", X=X, y=Y + 2**53))
    assert data.classes == ("9007199254740992", "9007199254740993")
    np.testing.assert_array_equal(data.y, Y)


@pytest.mark.parametrize("text", [
    ",a,b,y\n0,1,2,no\n1,3,4,yes\n", "a,b,y\nr1,1,2,no\nr2,3,4,yes\n",
    "sep=;\na;b;y\n1;2;no\n3;4;yes\n", "a,b,y,\r\n1,2,no,\n3,4,yes,\r\n",
    "\ufeff\"a\"; \"b\";y\n1,0; 2;no\n3; \"4,0\";yes\n"])
def test_files_as_programs_write_them(tmp_path, text):
    """With row numbers or names, a line for Excel, a trailing comma, or decimal commas."""
    data = read_table(write(tmp_path / "t.csv", text))
    assert data.feature_names == ("a", "b") and data.classes == ("no", "yes")
    np.testing.assert_array_equal(data.X, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(data.y, [0, 1])


def test_thousands_are_not_guessed(tmp_path):
    path = write(tmp_path / "t.csv", "a;y\n1,234;0\n5,678;1\n")
    assert "'1,234' is not a number with the decimal mark '.' (--decimal)" in refusal(path)
    assert read_table(path, decimal=".").X.tolist() == [[1234], [5678]]
    assert read_table(path, decimal=",").X.tolist() == [[1.234], [5.678]]


def test_files_of_a_pattern(tmp_path):
    for name in ("p1.csv", "p2.csv"):
        write(tmp_path / name, TABLE)
    data = read_table(tmp_path / "p*.csv")
    assert data.X.shape == (4, 2) and data.description == "p1.csv and 1 more file"


def test_all_faults_of_a_file(tmp_path):
    text = TABLE + "5,six,1\n7,8\n,1e999,\n9,2020-01-01,nan\n"
    with pytest.raises(DataError) as caught:
        read_table(write(tmp_path / "t.csv", text))
    place = "data row {} (counted from 1 after the header), column {!r}: "
    assert caught.value.faults == (
        "line 5 has 2 cells, the header has 3",
        place.format(3, "size") + "'six' is not a number (the first of 2 such cells)",
        place.format(5, "size") + "the value is inf ('1e999')",
        place.format(5, "age") + "the cell is empty",
        place.format(5, "target") + "the label is missing",
        place.format(6, "target") + "the label is nan")
    with pytest.raises(DataError, match="3 faults: X, row 1, .* row 2 .*: the label is missing"):
        read_table(npz(tmp_path / "t.npz", X=np.where(X < 2, np.inf, X),
                       y=np.array(["a", "", "b", "a"])))


def test_a_target_that_is_no_name(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,1\n")
    with pytest.raises(TypeError, match="target is 1; it should be a str"):
        read_table(tmp_path / "t.csv", 1)


@pytest.mark.parametrize("part", [',"a', '"a,', 'a;""'])
def test_a_header_that_is_hard_to_guess(tmp_path, part):
    """The separator is found in a time that grows like the header; its square would be an hour."""
    (tmp_path / "t.csv").write_text(part * 200_000 + "\n1,2\n")
    with pytest.raises(DataError):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(("header", "names"), [
    ('a,"b;c;d",y', ("a", "b;c;d")), ("a;b,c;y", ("a", "b,c")), ('"a,b,c"\ty', ("a,b,c",)),
    ("a\tb\ty", ("a", "b"))])
def test_the_separator_is_that_of_the_header(tmp_path, header, names):
    rows = [header[-2].join(["1"] * len(names) + [label]) for label in "01"]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    assert read_table(tmp_path / "t.csv").feature_names == names
