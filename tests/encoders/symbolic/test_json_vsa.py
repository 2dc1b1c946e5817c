import pytest
import torch
from torch.testing import assert_close

from tsforge.encoders.symbolic.json_vsa import JsonVSAEncoder
from tsforge.encoders.symbolic.vsa import VectorAlgebra, hadamard
from tsforge.errors import ArgumentError

WORDS = ["kiwi", "plum", "sage", "rose", "fern", "lime", "mint", "pear"]


def records(count=40, fields=4, seed=0):
    """Half words, half numbers from 0 to 10."""
    random = torch.Generator().manual_seed(seed)
    number = 10 * torch.rand(count, fields, generator=random)
    word = torch.randint(len(WORDS), (count, fields), generator=random)
    return [{f"w{f}" if f % 2 else f"n{f}": WORDS[word[r, f]] if f % 2 else float(number[r, f]) for f in range(fields)}
            for r in range(count)]


def made(known=None, **arguments):
    known = records() if known is None else known
    return JsonVSAEncoder(4, records={str(at): record for at, record in enumerate(known)}, **arguments)


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def test_the_hadamard_transform_is_its_matrix_and_undoes_itself():
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(4):
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), matrix)
    x = torch.randn(3, 16, dtype=torch.float64)
    assert_close(hadamard(x), x @ matrix / 4)
    assert_close(hadamard(hadamard(x)), x)


def test_binding_is_orthogonal_and_undone_and_keeps_norms_and_angles_however_often_it_is_done():
    algebra = VectorAlgebra(256)
    matrix = algebra.bind("role", torch.eye(256, dtype=torch.float64)).T
    assert (matrix.T @ matrix - torch.eye(256)).abs().max() <= 1e-5
    assert (matrix != 0).double().mean() > 0.9  # it mixes all numbers
    a, b = algebra.atom("a"), algebra.atom("b")
    assert_close(algebra.unbind("role", algebra.bind("role", a)), a)
    first, second, angle = a, b, cosine(a, b)
    plain = torch.randn(256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 16
    drifted = [a, b]
    for _ in range(256):
        first, second = algebra.bind("role", first), algebra.bind("role", second)
        drifted = [plain @ v / (plain @ v).norm() for v in drifted]
    assert_close(torch.stack([first.norm(), second.norm()]), torch.ones(2, dtype=torch.float64))
    assert abs(cosine(first, second) - angle) < 1e-9
    assert abs(cosine(*drifted)) > 0.5  # the control: under a matrix that is only random all vectors become one


def test_atoms_and_roles_are_drawn_from_their_names_and_the_seed():
    algebra = VectorAlgebra(1024)
    names = torch.stack([algebra.atom(f"{at}") for at in range(30)])
    between = (names @ names.T)[~torch.eye(30, dtype=torch.bool)]
    assert between.abs().max() < 5 / 1024**0.5
    assert_close(VectorAlgebra(1024).atom("7"), names[7], atol=0, rtol=0)
    assert abs(cosine(VectorAlgebra(1024, seed=1).atom("7"), names[7])) < 0.15
    assert abs(cosine(algebra.bind("x", names[0]), algebra.bind("y", names[0]))) < 0.15


def test_a_record_with_one_number_a_little_off_is_near_and_another_of_the_same_fields_is_not():
    encoder, known = made(), records()
    record = known[0] | {"n0": 2.0}
    near = [encoder.similarity(record, record | {"n0": 2.0 + by}) for by in (0, 0.5, 1, 2, 4, 8)]
    assert abs(near[0] - 1) < 1e-9
    assert near[1] > 0.95
    assert near == sorted(near, reverse=True)
    assert len(set(near)) == 6
    words = {"w1": "oak", "w3": "elm", "w5": "ash", "n0": 9.5}
    assert encoder.similarity({"w1": "kiwi", "w3": "plum", "w5": "sage", "n0": 0.5}, words) < 0.2


def test_where_a_value_stands_is_part_of_it_and_the_order_of_names_is_not():
    encoder = made()
    assert abs(encoder.similarity({"a": {"b": "v"}}, {"b": {"a": "v"}})) < 0.15
    assert abs(encoder.similarity({"a": "x", "b": "y"}, {"a": "y", "b": "x"})) < 0.15
    assert abs(encoder.similarity(["x", "y", "z"], ["y", "z", "x"])) < 0.15
    assert abs(encoder.similarity(["x"], "x")) < 0.15
    assert encoder.similarity({"a": "x", "b": "y"}, {"b": "y", "a": "x"}) == pytest.approx(1, abs=1e-6)
    loose = made(arrays="set")  # the control: without order they are the same
    assert loose.similarity(["x", "y", "z"], ["y", "z", "x"]) == pytest.approx(1, abs=1e-6)


def test_constants_numbers_and_words_are_different_things():
    encoder = made()
    for a, b in ((True, 1), (True, "True"), (1, "1"), (True, False), ({}, []), (False, 0)):
        assert abs(encoder.similarity(a, b)) < 0.2
    assert encoder.similarity(3, 3.0) == pytest.approx(1)


def hits(encoder, known, candidates, within):
    """In how many records the number that ranks first is among the nearest candidates to what stands there."""
    found = 0
    for record in known:
        likeness = encoder.query(encoder.code(record), ["n0"], candidates)
        distance = (torch.tensor(candidates) - record["n0"]).abs()
        found += int(distance[likeness.argmax()] <= distance.min() + within)
    return found / len(known)


def test_a_number_is_read_back_out_of_a_record():
    candidates = [0.5 + at for at in range(10)]
    few, many = ([record | {"n0": candidates[at % 10]} for at, record in enumerate(records(20, fields, seed=fields))]
                 for fields in (4, 8))
    encoder = made(few)
    assert hits(encoder, few, candidates, 0.0) >= 0.9
    assert hits(made(many), many, candidates, 1.0) >= 0.75
    wrong = [encoder.query(encoder.code(record), ["n2"], candidates).argmax() for record in few]  # the control
    right = [encoder.query(encoder.code(record), ["n0"], candidates).argmax() for record in few]
    assert sum(int(a == b) for a, b in zip(wrong, right, strict=True)) < 10


def test_a_word_deep_in_a_record_is_read_back_by_its_path():
    encoder = made()
    code = encoder.code({"site": {"soil": ["clay", "sand"], "use": "farm"}, "open": True})
    likeness = encoder.query(code, ["site", "soil", 1], ["clay", "sand", "farm", "peat"])
    assert likeness.argmax() == 1
    assert likeness[1] > 3 * likeness[[0, 2, 3]].abs().max()
    assert_close(encoder.unbind(encoder.code({"a": "x"}), ["a"]), encoder.algebra.atom("word x"))


def test_a_number_is_placed_in_the_range_of_its_path():
    skewed = [{"n": 10.0**at, "m": float(at), "l": [float(at), at + 0.5]} for at in range(5)]
    encoder = made(skewed)
    assert encoder.ranges["n",][2]
    assert not encoder.ranges["m",][2]
    assert encoder.ranges["m",][:2] == pytest.approx((0.2, 3.8))
    assert encoder.ranges["l", "[]"][:2] == pytest.approx((0.225, 4.275))
    steps = [encoder.similarity({"n": a}, {"n": b}) for a, b in ((10.0, 100.0), (100.0, 1000.0))]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)  # and not 1, as in a range that ends at 10 000
    assert encoder.similarity({"m": 50.0}, {"m": 3.8}) == pytest.approx(1)
    assert encoder.similarity({"n": -1.0}, {"n": 1e-9}) == pytest.approx(1)
    assert encoder.similarity({"new": 1.0}, {"new": 2.0}) > encoder.similarity({"new": 1.0}, {"new": 1e5})


def test_words_that_share_letters_are_alike_when_they_are_read_in_pieces():
    pieces, whole = made(ngram=2), made()
    assert pieces.similarity("station", "stations") > 0.6
    assert abs(whole.similarity("station", "stations")) < 0.15  # the control
    assert abs(pieces.similarity("station", "hydro")) < 0.2
    assert pieces.code("").isfinite().all()


def test_names_whose_values_differ_weigh_more():
    known = [{"same": "x", "own": f"id {at}"} for at in range(20)]
    weighed, plain = made(known, weigh=True), made(known)
    a, b = known[:2]
    assert plain.similarity(a, b) == pytest.approx(0.5, abs=0.1)
    assert weighed.similarity(a, b) < 0.2


def test_the_parameters_are_those_of_the_map():
    assert sum(p.numel() for p in made(code_dim=128).parameters()) == (128 + 1) * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"code_dim": 100}, "code_dim=100"), ({"arrays": "bag"}, "arrays='bag'"), ({"anchors": 1}, "anchors=1"),
     ({"ngram": -1}, "ngram=-1"), ({"known": [{"a": {1: 2}}]}, "names that are no words"),
     ({"known": [{"a": 10**400}]}, "beyond 1e300")], ids=["dim", "arrays", "anchors", "ngram", "names", "huge"],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        made(**arguments)


def test_a_record_without_end_is_refused():
    deep = "leaf"
    for _ in range(60):
        deep = {"a": deep}
    with pytest.raises(ArgumentError, match="more than 50 levels"):
        made([{"top": deep}])


def test_a_record_is_what_the_equations_say():
    known = [{"n": float(at)} for at in range(11)]
    encoder = made(known, code_dim=128, anchors=4)
    bind, atom = encoder.algebra.bind, encoder.algebra.atom

    def unit(v):
        return v / v.norm()

    place = (3.0 - 0.5) / (9.5 - 0.5) * 3
    number = unit(sum(torch.exp(-torch.tensor(place - j, dtype=torch.float64) ** 2 / 2) * atom(f"anchor {j}")
                      for j in range(4)))
    items = unit(bind("next", atom("word x")) + bind("next", bind("next", bind("next", atom("constant True")))))
    inner = unit(bind("key l", items))
    expected = unit(bind("key n", number) + bind("key o", inner))
    assert_close(encoder.code({"n": 3.0, "o": {"l": ["x", None, True]}}), expected, atol=1e-9, rtol=0)
