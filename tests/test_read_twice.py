"""Data that come out differently when they are read again are refused every time; all others are read as they are,
without a trace.
"""

import itertools
import random
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import repsim_nb as rs
from repsim_nb.inputs.randomness import (
    GENERATORS,
    find_used_generators,
    preserve_random_states,
    read_generator_states,
    seed_generators,
)

CHANCE = {"torch": lambda: float(torch.rand(1)), "NumPy": np.random.rand, "Python": random.random}
ROW = torch.arange(6.0)


def torch_number(generator):
    return float(torch.rand(1, generator=generator))


class Numbered(torch.utils.data.Dataset):
    """Sample i is made by a function of i; counts what is read."""

    def __init__(self, make, n=20):
        self.make, self.n, self.reads = make, n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.reads.append(i)
        return self.make(i)


class Streamed(IterableDataset):
    def __init__(self, items):
        self.items, self.given = items, 0

    def __iter__(self):
        for item in self.items():
            self.given += 1
            yield item


class Again:
    """Something else that can be read more than once."""

    __init__, __iter__ = Streamed.__init__, Streamed.__iter__


def flipped(row, chance, p=0.5):
    return row.flip(0) if chance() < p else row


def numbered(n=20):
    return [ROW + 10 * i for i in range(n)]


def rows_of(data):
    return [float(row[0]) for row in data.inputs[:]]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    """Whatever is read, and whether it is refused: the random states are as before."""
    before = read_generator_states()
    yield
    assert read_generator_states() == before


def test_that_is_looked_at_here():
    with preserve_random_states():
        seed_generators(0)
        torch.rand(1)
        moved = read_generator_states()
    assert moved != read_generator_states()


# -- samples with numbers


@settings(max_examples=60, deadline=None, database=None)
@given(
    which=st.sampled_from(GENERATORS),
    seed=st.integers(0, 10**6),
    p=st.sampled_from([0.5, 0.01, 0.0]),
    n=st.integers(1, 40),
)
def test_a_random_augmentation_is_noticed_every_time(which, seed, p, n):
    """However small its probability, and whatever the random state is."""
    with preserve_random_states():
        seed_generators(seed)
        with pytest.raises(
            ValueError,
            match=(
                rf"dataset 'd': sample 0 of Numbered draws random numbers when it is read \({which}'s global"
                r" generator\), most likely "
                "because of a random augmentation.*another input for each model.*Remove the random transform, or use"
                " the transform"
            ),
        ):
            rs.Dataset("d", Numbered(lambda i: flipped(ROW + i, CHANCE[which], p), n))


@pytest.mark.parametrize("from_one", [0, 1])
@pytest.mark.parametrize(
    "number", [np.random.default_rng(0).random, random.Random(0).random, partial(torch_number, torch.Generator())]
)
def test_a_generator_of_its_own_is_noticed_by_the_values(number, from_one):
    """Also if the first sample is spared."""
    noisy = Numbered(lambda i: ROW + number() if i >= from_one else ROW)
    with pytest.raises(
        ValueError,
        match=(
            f"sample {4 * from_one} of Numbered differs each time it is read, most likely because of a random"
            " augmentation"
        ),
    ):
        rs.Dataset("d", noisy)
    assert len(noisy.reads) <= 13


def test_flips_by_a_generator_of_its_own_are_noticed():
    """Six samples that are flipped with probability 1/2 agree by chance once in 64 times."""
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        try:
            rs.Dataset("d", Numbered(lambda i, rng=rng: flipped(ROW, rng.random)))
        except ValueError:
            refused += 1
    assert refused >= 55


def test_a_sample_that_is_random_once_and_then_remembered_is_refused():
    """The workers of a loader would each remember another one."""
    memory = {}
    with pytest.raises(ValueError, match=r"sample \d of Numbered draws random numbers"):
        rs.Dataset("d", Numbered(lambda i: memory.setdefault(i, ROW + np.random.rand() if i not in memory else 0)))


@pytest.mark.parametrize(
    "seed, draw",
    [(torch.manual_seed, lambda: torch.rand(1)), (np.random.seed, np.random.rand), (random.seed, random.random)],
    ids=GENERATORS,
)
def test_samples_that_seed_themselves_are_read_and_leave_no_trace(seed, draw):
    def make(i):
        seed(i)
        return ROW + float(draw())

    with preserve_random_states():
        expected = [float(make(i)[0]) for i in range(20)]
    data = rs.Dataset("d", Numbered(make))
    before = read_generator_states()
    assert rows_of(data) == expected and data.fingerprint() == rs.Dataset("d", Numbered(make)).fingerprint()
    assert [float(row[0]) for _, _, batch in data.batches(0, 7) for row in batch] == expected
    assert read_generator_states() == before


def test_what_happens_at_the_first_reading_only_is_no_randomness():
    """Such as a library that is imported, or a file that is opened."""
    opened = []

    def make(i):
        if not opened:
            opened.append(np.random.rand())
        return ROW + i

    assert rows_of(rs.Dataset("d", Numbered(make))) == list(range(20))


def test_about_six_samples_are_read_twice_and_spread_evenly():
    source = Numbered(lambda i: ROW + i, 101)
    rs.Dataset("d", source)
    assert sorted(set(source.reads)) == [0, 20, 40, 60, 80, 100] and len(source.reads) == 13
    for n in (0, 1, 2):
        source = Numbered(lambda i: ROW + i, n)
        assert len(rs.Dataset("d", source)) == n and set(source.reads) == set(range(n))


def test_a_sample_that_cannot_be_read_may_be_left_out():
    data = rs.Dataset("d", Numbered(lambda i: ROW / 0 if i != 4 else [][0], 21))
    assert len(data.take([0, 1], "two").inputs[:]) == 2
    with pytest.raises(ValueError, match="sample 4 of Numbered could not be read"):
        data.inputs[:]


# -- DataLoaders


@pytest.mark.parametrize("which", GENERATORS)
def test_a_collate_function_with_random_steps_is_named(which):
    def padded(samples):
        return torch.nn.functional.pad(torch.stack(samples), (0, int(3 * CHANCE[which]())))

    for options in ({"batch_size": 4}, {"batch_size": 4, "num_workers": 1}):
        with pytest.raises(
            ValueError,
            match=(
                rf"the collate_fn for Numbered draws random numbers \({which}'s global generator\).*a collate_fn"
                r" without random steps"
            ),
        ):
            rs.Dataset("d", DataLoader(Numbered(lambda i: ROW + i), collate_fn=padded, **options))
    with pytest.raises(ValueError, match="sample 0 of Numbered draws random numbers"):
        rs.Dataset("d", DataLoader(Numbered(lambda i: flipped(ROW, CHANCE[which])), batch_size=4))
    with pytest.raises(ValueError, match="the collate_fn for Numbered draws"):
        rs.Dataset(
            "d",
            DataLoader(Numbered(lambda i: ROW[None] + i), batch_size=None, collate_fn=lambda x: x + CHANCE[which]()),
        )


def test_a_collate_function_with_a_generator_of_its_own_is_noticed():
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError,
        match=(
            "sample 0 of Numbered differs each time it is read, most likely because of a random augmentation, or of a"
            " collate_fn"
        ),
    ):
        rs.Dataset(
            "d", DataLoader(Numbered(lambda i: ROW), collate_fn=lambda samples: torch.stack(samples) + rng.random())
        )


def words(i):
    return torch.arange(1, 2 + i % 5) + 10 * i


def sorted_by_length(samples):
    return {"input_ids": pad_sequence(sorted(samples, key=len, reverse=True), batch_first=True)}


def shuffled_by_position(samples):
    return pad_sequence([*samples[1:], samples[0]], batch_first=True)


@pytest.mark.parametrize("collate", [sorted_by_length, shuffled_by_position])
def test_a_collate_function_that_moves_samples_is_named(collate):
    with pytest.raises(
        ValueError,
        match=(
            "the collate_fn for Numbered changes the order of the samples of a batch .sample .*Does it sort by"
            " length.*keep the order"
        ),
    ):
        rs.Dataset("d", DataLoader(Numbered(words, 13), batch_size=4, collate_fn=collate))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_collate_function_that_pads_is_taken(side):
    def padded(samples):
        return {
            "input_ids": pad_sequence(samples, batch_first=True, padding_side=side),
            "attention_mask": pad_sequence([torch.ones_like(s) for s in samples], batch_first=True, padding_side=side),
        }

    data = rs.Dataset("d", DataLoader(Numbered(words, 13), batch_size=4, collate_fn=padded))
    assert [int(row[row > 0][0]) for row in data.inputs[:]["input_ids"]] == [1 + 10 * i for i in range(13)]


def test_a_collate_function_may_change_values():
    """If no row can be found again, no error concerns their order."""
    data = rs.Dataset(
        "d",
        DataLoader(
            Numbered(lambda i: ROW + i), batch_size=4, collate_fn=lambda samples: torch.stack(samples) / len(samples)
        ),
    )
    assert len(data) == 20


@pytest.mark.parametrize("which", GENERATORS)
@pytest.mark.parametrize("batch_size", [3, None])
def test_a_sampler_that_shuffles_is_noticed_every_time(which, batch_size):
    """Also if there are only two samples, which keep their order half of the time."""

    class Sampler(torch.utils.data.Sampler):
        def __iter__(self):
            return iter([0, 1] if CHANCE[which]() < 0.5 else [1, 0])

    for seed in range(20):
        with preserve_random_states():
            seed_generators(seed)
            with pytest.raises(ValueError, match=r"the DataLoader shuffles \(Sampler\)"):
                rs.Dataset(
                    "d", DataLoader(Numbered(lambda i: ROW[None] + i, 2), batch_size=batch_size, sampler=Sampler())
                )


# -- streams


def shuffled(which, n):
    if which == "torch":
        return lambda: (ROW + int(i) for i in torch.randperm(n))
    if which == "NumPy":
        return lambda: (ROW + int(i) for i in np.random.permutation(n))
    return lambda: (ROW + i for i in random.sample(range(n), n))


@settings(max_examples=60, deadline=None, database=None)
@given(which=st.sampled_from(GENERATORS), seed=st.integers(0, 10**6), n=st.integers(2, 30))
def test_a_stream_that_shuffles_is_noticed_every_time(which, seed, n):
    with preserve_random_states():
        seed_generators(seed)
        for made in (
            Streamed(shuffled(which, n)),
            DataLoader(Streamed(shuffled(which, n)), batch_size=4),
            DataLoader(Streamed(shuffled(which, n)), batch_size=4, num_workers=1),
        ):
            with pytest.raises(
                ValueError,
                match=(
                    r"dataset 'd': Streamed (comes in another order|gives other items|draws random numbers).*rs.Dataset"
                ),
            ):
                rs.Dataset("d", made)
        with pytest.raises(ValueError, match="Again (comes|gives|draws)"):
            rs.Dataset("d", Again(lambda: (item[None] for item in shuffled(which, n)())))


def test_a_stream_with_a_generator_of_its_own_is_noticed():
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError,
        match=r"Streamed comes in another order each time it is read \(item 0 differs\)|Streamed gives other items",
    ):
        rs.Dataset("d", Streamed(lambda: (ROW + int(i) for i in rng.permutation(10))))
    with pytest.raises(ValueError, match=r"Again gives other items each time it is read \(item 0 differs\)"):
        rs.Dataset("d", Again(lambda: (ROW[None] + rng.random() for _ in range(10))))
    with pytest.raises(ValueError, match=r"Streamed gives other items each time it is read \(item 3 differs\)"):
        rs.Dataset("d", Streamed(lambda: (ROW + (rng.random() if i == 3 else i) for i in range(10))))
    lengths = iter([5, 4])
    with pytest.raises(ValueError, match=r"Streamed gives other items each time it is read \(item 4 differs\)"):
        rs.Dataset("d", Streamed(lambda: numbered(next(lengths))))


@pytest.mark.parametrize("which", GENERATORS)
def test_a_stream_that_augments_or_pads_at_random_is_noticed(which):
    with pytest.raises(ValueError, match="Streamed (gives other items|draws random numbers)"):
        rs.Dataset("d", Streamed(lambda: (flipped(row, CHANCE[which], 0.01) for row in numbered())))
    with pytest.raises(ValueError, match="Streamed (gives other items|draws random numbers)"):
        rs.Dataset(
            "d",
            DataLoader(
                Streamed(lambda: iter(numbered())),
                batch_size=4,
                collate_fn=lambda samples: torch.stack(samples) + CHANCE[which](),
            ),
        )
    with pytest.raises(ValueError, match="Streamed (gives other items|draws random numbers)"):
        rs.Dataset(
            "d",
            DataLoader(
                Streamed(lambda: iter([row[None] for row in numbered()])),
                batch_size=None,
                collate_fn=lambda batch: batch + CHANCE[which](),
            ),
        )


def seeded_permutation():
    torch.manual_seed(3)
    return (ROW + int(i) for i in torch.randperm(20))


@pytest.mark.parametrize(
    "items",
    [
        lambda: iter(numbered()),
        seeded_permutation,
        lambda: (ROW + int(i) for i in np.random.default_rng(3).permutation(20)),
    ],
)
def test_a_stream_in_a_fixed_order_is_read_as_it_comes(items):
    with preserve_random_states():
        expected = [float(row[0]) for row in items()]
    for made in (
        Streamed(items),
        DataLoader(Streamed(items), batch_size=7),
        DataLoader(Streamed(items), batch_size=7, num_workers=2),
        Again(lambda: (row[None] for row in items())),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert rows_of(rs.Dataset("d", made)) == expected


def test_of_a_stream_sixteen_items_are_read_again():
    for kind, items in ((Streamed, lambda: iter(numbered(40))), (Again, lambda: (row[None] for row in numbered(40)))):
        made = kind(items)
        assert len(rs.Dataset("d", made)) == 40 and made.given == 56
    made = Streamed(lambda: iter(numbered(40)))
    assert len(rs.Dataset("d", DataLoader(made, batch_size=9))) == 40 and made.given == 56


class Wrapping:
    """A loader inside something else, which takes a seed for its workers from torch each time it is read."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)


def test_the_seed_that_a_loader_takes_is_no_randomness():
    rows = torch.stack(numbered())
    assert rows_of(rs.Dataset("d", Wrapping(DataLoader(TensorDataset(rows), batch_size=4)))) == rows[:, 0].tolist()
    assert (
        rows_of(rs.Dataset("d", Wrapping(Wrapping(DataLoader(TensorDataset(rows), batch_size=4)))))
        == rows[:, 0].tolist()
    )
    for n in (2, 3, 5):  # three items take as many numbers as a seed does
        for seed in range(20):
            with preserve_random_states():
                seed_generators(seed)
                with pytest.raises(ValueError, match="Wrapping (comes|gives|draws)"):
                    rs.Dataset("d", Wrapping(DataLoader(TensorDataset(rows[:n]), batch_size=1, shuffle=True)))


@pytest.mark.parametrize(
    "make",
    [
        lambda items: Again(items),
        lambda items: Streamed(items),
        lambda items: DataLoader(Streamed(items), batch_size=1),
    ],
)
def test_a_reading_that_fails_leaves_nothing_behind_either(make):
    """Also as long as its traceback is kept, as a notebook does."""
    before = read_generator_states()
    with pytest.raises(ValueError, match="batch 1 has samples of shape|cannot be stacked") as caught:
        rs.Dataset("d", make(lambda: (torch.zeros(1, size) for size in (2, 3))))
    assert caught.tb is not None and read_generator_states() == before
    with preserve_random_states():
        moved = seed_generators(5)
        del caught
        assert read_generator_states() == moved


def test_what_is_its_own_iterator_is_read_once_whatever_it_draws():
    with preserve_random_states():
        seed_generators(1)
        noisy = rs.Dataset("d", (ROW[None] + np.random.rand() for _ in range(3)))
        seed_generators(1)
        assert rows_of(noisy) == pytest.approx([np.random.rand() for _ in range(3)])
    assert rows_of(rs.Dataset("d", iter([ROW[None], ROW[None] + 1]))) == [0, 1]


def test_a_stream_that_is_used_up_is_read_and_a_warning_says_so():
    def once(items):
        left = iter(items)
        return lambda: left

    for made in (
        Streamed(once(numbered(3))),
        DataLoader(Streamed(once(numbered(3))), batch_size=2),
        Again(once([row[None] for row in numbered(3)])),
    ):
        with pytest.warns(
            UserWarning,
            match=(
                "(Streamed|Again) gave items when it was first read and gave none when it was read again.*Its first"
                " reading is used"
            ),
        ):
            assert rows_of(rs.Dataset("d", made)) == [0, 10, 20]

    turns = itertools.count()

    def failing():
        if next(turns):
            raise OSError("the connection is closed")
        return iter([row[None] for row in numbered(3)])

    with pytest.warns(UserWarning, match="failed when it was read again .OSError: the connection is closed."):
        assert rows_of(rs.Dataset("d", Again(failing))) == [0, 10, 20]
    with pytest.raises(ValueError, match="the Again gave nothing"):
        rs.Dataset("d", Again(lambda: iter(())))


def test_texts_and_columns_are_compared_too():
    rng = np.random.default_rng(0)
    texts = [f"text {i}" for i in range(20)]
    assert rs.Dataset("d", Again(lambda: iter(texts))).inputs == texts
    with pytest.raises(ValueError, match="Again (comes in another order|gives other items)"):
        rs.Dataset("d", Again(lambda: iter(rng.permutation(texts).tolist())))
    with pytest.raises(ValueError, match="Again gives other items"):
        rs.Dataset("d", Again(lambda: ({"x": ROW[None], "y": ROW[None] + rng.random()} for _ in range(3))))
    with pytest.raises(ValueError, match="Again gives other items"):
        rs.Dataset("d", Again(lambda: ((ROW[None], [int(rng.integers(100))]) for _ in range(9))))


# -- the rule


@pytest.mark.parametrize("which", GENERATORS)
def test_a_generator_was_drawn_from_if_its_state_depends_on_the_state_before(which):
    seeds = {"torch": torch.manual_seed, "NumPy": np.random.seed, "Python": random.seed}

    def found(work):
        with preserve_random_states():
            pairs = []
            for seed in (1, 2):
                before = seed_generators(seed)
                work()
                pairs.append((before, read_generator_states()))
            return find_used_generators(*pairs)

    assert found(lambda: None) == () and found(CHANCE[which]) == (which,)
    assert found(lambda: (seeds[which](5), CHANCE[which]())) == ()
    assert set(found(lambda: [chance() for chance in CHANCE.values()])) == set(GENERATORS)


def test_another_thread_that_draws_now_and_then_raises_no_alarm():
    """Servers and schedulers draw from Python's generator at their own times."""

    class Disturbed(torch.utils.data.Dataset):
        def __init__(self):
            self.reads = 0

        def __len__(self):
            return 10

        def __getitem__(self, i):
            self.reads += 1
            if self.reads == 3:
                random.random()
            return torch.full((3,), float(i))

    assert len(rs.Dataset("d", Disturbed())) == 10
