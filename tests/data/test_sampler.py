import numpy as np
import pytest

from speech_commands_kws.data.sampler import EpochBatches, ResumableLoader, Shard
from speech_commands_kws.errors import KwsError


def make_sampler(seed: int = 0, shard: Shard = Shard()) -> EpochBatches:
    return EpochBatches(
        keyword_rows=np.arange(50),
        unknown_rows=np.arange(100, 140),
        n_unknown=5,
        n_silence=6,
        batch_size=8,
        seed=seed,
        shard=shard,
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


@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_processes_share_every_batch_of_a_single_one(world_size):
    whole = list(make_sampler())
    shards = [list(make_sampler(shard=Shard(i, world_size))) for i in range(world_size)]
    assert {len(batches) for batches in shards} == {len(shards[0])}
    assert min(len(batch) for batches in shards for batch in batches) >= 1
    together = [sorted(np.concatenate(parts)) for parts in zip(*shards, strict=True)]
    assert sorted(np.concatenate(together)) == sorted(np.concatenate(whole))
    for ours, theirs in zip(together[:-1], whole, strict=False):
        assert ours == sorted(theirs)
    sizes = [[len(batch) for batch in parts] for parts in zip(*shards, strict=True)]
    assert max(max(parts) - min(parts) for parts in sizes) <= 1


@pytest.mark.parametrize(
    ("n_clips", "batch_size", "world_size", "sizes"),
    [
        (10, 4, 1, [4, 4, 2]),
        (9, 4, 1, [4, 4, 1]),
        (9, 4, 2, [4, 5]),  # a single clip is too few for two
        (10, 4, 2, [4, 4, 2]),
        (8, 4, 4, [4, 4]),
        (3, 4, 3, [3]),
        (11, 4, 4, [4, 7]),
    ],
)
def test_what_is_left_over_is_a_batch_only_with_a_clip_for_each(
    n_clips, batch_size, world_size, sizes
):
    shards = [Shard(i, world_size) for i in range(world_size)]
    clips = range(n_clips)
    assert [shard.n_batches(n_clips, batch_size) for shard in shards] == [len(sizes)] * world_size
    parts = [
        [clips[shard.part(i, n_clips, batch_size)] for shard in shards] for i in range(len(sizes))
    ]
    assert [sum(map(len, batch)) for batch in parts] == sizes
    assert sorted(clip for batch in parts for part in batch for clip in part) == list(clips)


@pytest.mark.parametrize(("n_clips", "batch_size"), [(2, 8), (8, 2)])
def test_fewer_clips_than_processes_is_refused(n_clips, batch_size):
    with pytest.raises(KwsError, match="clip for each of 3 processes.*trainer.devices"):
        Shard(0, 3).n_batches(n_clips, batch_size)


def test_restored_loader_of_a_process_hands_out_the_rest_of_its_shard():
    shard = Shard(1, 2)
    whole = ResumableLoader(np.arange(140), sampler=make_sampler(shard=shard), batch_size=None)
    batches = iter(whole)
    _ = [next(batches) for _ in range(3)]
    state, rest = whole.state_dict(), list(batches)
    restored = ResumableLoader(np.arange(140), sampler=make_sampler(shard=shard), batch_size=None)
    restored.load_state_dict(state)
    assert all(np.array_equal(one, other) for one, other in zip(restored, rest, strict=True))
