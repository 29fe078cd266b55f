import numpy as np

from speech_commands_kws.data.sampler import EpochBatches, ResumableLoader


def make_sampler(seed: int = 0) -> EpochBatches:
    return EpochBatches(
        keyword_rows=np.arange(50),
        unknown_rows=np.arange(100, 140),
        n_unknown=5,
        n_silence=6,
        silent_row=-1,
        batch_size=8,
        seed=seed,
    )


def rows_of(sampler: EpochBatches, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return [int(row) for batch in sampler for row in batch]


def test_an_epoch_holds_every_keyword_once_and_a_share_of_the_rest():
    rows = rows_of(make_sampler(), 0)
    assert sorted(row for row in rows if 0 <= row < 100) == list(range(50))
    assert rows.count(-1) == 6
    unknown = [row for row in rows if row >= 100]
    assert len(unknown) == len(set(unknown)) == 5


def test_batches_have_the_size_asked_for_and_the_last_one_the_rest():
    sampler = make_sampler()
    assert [len(batch) for batch in sampler] == [8] * 7 + [5]
    assert len(sampler) == 8


def test_order_and_unknown_words_change_with_epoch_and_seed_only():
    sampler = make_sampler()
    first, second = rows_of(sampler, 0), rows_of(sampler, 1)
    assert first != second
    assert {row for row in first if row >= 100} != {row for row in second if row >= 100}
    assert rows_of(sampler, 0) == first
    assert rows_of(make_sampler(seed=1), 0) != first


def test_restored_loader_hands_out_the_rest_of_the_epoch():
    dataset = np.arange(140)
    whole = ResumableLoader(dataset, sampler=make_sampler(), batch_size=None)
    batches = iter(whole)
    started = [next(batches) for _ in range(3)]
    state = whole.state_dict()
    rest = list(batches)

    restored = ResumableLoader(dataset, sampler=make_sampler(), batch_size=None)
    restored.load_state_dict(state)
    resumed = list(restored)
    assert len(started) + len(resumed) == len(whole)
    assert all(np.array_equal(one, other) for one, other in zip(resumed, rest, strict=True))
    assert len(list(restored)) == len(whole), "the next epoch is whole again"


def test_state_from_the_end_of_an_epoch_begins_the_next():
    loader = ResumableLoader(np.arange(140), sampler=make_sampler(), batch_size=None)
    list(loader)
    restored = ResumableLoader(np.arange(140), sampler=make_sampler(), batch_size=None)
    restored.load_state_dict(loader.state_dict())
    assert len(list(restored)) == len(loader)
