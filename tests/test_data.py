"""Order, crop, flip and cache are a pure function of seed, step and position."""

import os
import signal
from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional
from toys import CPU, tiny_recipe

from imgtrans import Images, ImgtransError
from imgtrans.data import (
    HeldOutImages,
    Order,
    Store,
    fingerprint,
    fit,
    held_out,
    open_store,
    open_training,
    spread,
    to_range,
    unit,
)
from imgtrans.data.keeping import fits_in_memory, judged


@dataclass
class Numbered:
    """Images whose pixels say which image and which place they are."""

    count: int
    height: int = 40
    width: int = 40
    broken: tuple[int, ...] = ()
    label: str = "x"

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.broken:
            message = f"{self.name(index)} is broken"
            raise ImgtransError(message)
        places = torch.arange(self.height * self.width) % 251
        image = places.reshape(1, self.height, self.width).repeat(3, 1, 1)
        image[0] = index
        return image.byte()

    def name(self, index):
        return f"{self.label}/{index}.png"


def quiet(label, total):
    return lambda: None


def training(images=None, **changes):
    settings = {"steps": 6, "batch_size": 3, **changes.pop("train", {})}
    recipe = tiny_recipe(train=settings)
    dataset = recipe.dataset.model_copy(update={"load_size": 40, "flip": True, **changes})
    recipe = recipe.model_copy(update={"dataset": dataset})
    return open_training(recipe, images or Images(Numbered(7), Numbered(5)), quiet)


def all_batches(data, start=0, stop=6):
    return [batch.to(CPU, torch.float32) for batch in data.batches(start, stop, CPU)]


def same(batches, others):
    pairs = zip(batches, others, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_do_not_change_what_steps_see(workers):
    alone = training(train={"workers": 0, "cache": "none"})
    helped = training(train={"workers": workers, "cache": "none"})
    assert same(all_batches(alone), all_batches(helped))


def test_the_cache_does_not_change_what_steps_see():
    cached, streamed = (training(train={"cache": cache}) for cache in ("memory", "none"))
    assert cached.cached
    assert not streamed.cached
    assert same(all_batches(cached), all_batches(streamed))


def test_starting_later_gives_the_same_later_batches():
    assert same(all_batches(training())[4:], all_batches(training(), 4))


def test_another_seed_gives_another_order_crop_and_flip():
    assert not same(all_batches(training()), all_batches(training(train={"seed": 1})))


def test_reading_batches_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    all_batches(training())
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_pass_shows_every_image_of_each_domain_once():
    order = Order(seed=0, batch_size=1, lengths=(7, 5), paired=False)
    seen = [order.indices(position) for position in range(70)]
    assert Counter(x for x, _ in seen) == dict.fromkeys(range(7), 10)
    assert Counter(y for _, y in seen) == dict.fromkeys(range(5), 14)
    assert [x for x, _ in seen[:7]] != [x for x, _ in seen[7:14]]


def test_paired_images_share_order_crop_and_flip():
    data = training(Images(Numbered(7), Numbered(7), paired=True))
    assert all(torch.equal(x, y) for x, y in all_batches(data))


def test_unpaired_images_are_cropped_and_flipped_apart():
    x, y = all_batches(training(Images(Numbered(1), Numbered(1))))[0]
    assert not torch.equal(x, y)


def test_half_of_the_images_are_mirrored():
    data = training(Images(Numbered(1), Numbered(1)), train={"steps": 100}, load_size=32)
    plain = to_range(Numbered(1, 40, 40)[0][1:])
    flips = [batch.flip_x.float().mean() for batch in data.batches(0, 100, CPU)]
    assert 0.4 < torch.stack(flips).mean() < 0.6
    assert plain.shape == (2, 40, 40)


def test_without_flip_and_larger_load_size_images_come_as_they_are():
    data = training(Images(Numbered(1, 32, 32), Numbered(1, 32, 32)), flip=False, load_size=None)
    x, _ = all_batches(data, 0, 1)[0]
    assert torch.equal(x[0], to_range(Numbered(1, 32, 32)[0]))


def test_resizing_keeps_the_aspect():
    assert fit(torch.zeros(3, 100, 50, dtype=torch.uint8), 25, "bilinear").shape == (3, 50, 25)


def test_sixteen_bits_survive_the_way_to_the_network():
    values = torch.arange(0, 64_000, 64).reshape(1, 25, 40).to(torch.uint16)
    assert len(to_range(values).unique()) == 1000
    assert fit(values, 25, "bilinear").dtype == torch.float32


def test_eight_and_sixteen_bit_images_make_one_batch():
    @dataclass
    class Mixed(Numbered):
        def __getitem__(self, index):
            image = super().__getitem__(index)
            return (image.int() * 257).to(torch.uint16) if index % 2 else image

    x, _ = all_batches(training(Images(Mixed(4), Numbered(4))))[0]
    assert -1 <= x.min() < x.max() <= 1


def test_floats_in_zero_to_one_are_taken_as_they_are():
    assert torch.equal(unit(torch.tensor([0.25])), torch.tensor([0.25]))


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_broken_image_ends_the_run_and_is_named(cache):
    images = Images(Numbered(4, broken=(2,)), Numbered(4))
    with pytest.raises(ImgtransError, match=r"x/2\.png is broken"):
        all_batches(training(images, train={"cache": cache, "workers": 0}))


def test_a_broken_image_read_by_a_worker_is_told_in_one_line_without_its_traceback():
    images = Images(Numbered(4, broken=(2,)), Numbered(4))
    with pytest.raises(ImgtransError) as caught:
        all_batches(training(images, train={"cache": "none", "workers": 1}))
    assert str(caught.value) == "x/2.png is broken"


@dataclass
class Killing(Numbered):
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_told_with_what_to_do():
    data = training(Images(Killing(4), Numbered(4)), train={"cache": "none", "workers": 1})
    with pytest.raises(ImgtransError, match=r"(?s)is gone: .*lower train\.workers"):
        all_batches(data)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_broken_image_is_left_out_and_named_where_the_recipe_allows_it(cache):
    images = Images(Numbered(4, broken=(2,)), Numbered(4))
    data = training(images, broken_images="skip", train={"cache": cache, "workers": 0})
    named = {*data.broken, *(r for batch in data.batches(0, 6, CPU) for r in batch.broken)}
    assert named == {"x/2.png is broken"}


def test_leaving_images_out_gives_the_same_batches_with_and_without_cache():
    images = Images(Numbered(4, broken=(2, 3)), Numbered(4))
    both = [
        training(images, broken_images="skip", train={"cache": cache, "workers": 0})
        for cache in ("memory", "none")
    ]
    assert same(*(all_batches(data) for data in both))


def test_a_domain_of_broken_images_is_an_error_even_where_they_may_be_left_out():
    store = Store(Numbered(3, broken=(0, 1, 2)), 32, "bilinear", skip_broken=True)
    with pytest.raises(ImgtransError, match="none of the 3 images can be read"):
        store.read(0)


def test_the_fingerprint_changes_with_the_list_of_files():
    one, two = Images(Numbered(3), Numbered(2)), Images(Numbered(2), Numbered(3))
    assert fingerprint(one) == fingerprint(Images(Numbered(3), Numbered(2)))
    assert fingerprint(one) != fingerprint(two)


def test_held_out_images_are_cropped_in_the_middle():
    store = open_store(Numbered(2), tiny_recipe().dataset.model_copy(update={"load_size": 40}))
    images = held_out((store, store), 1, 32)
    assert images.x.shape == images.y.shape == (1, 3, 32, 32)
    assert images.x[0, 1, 0, 0] == to_range(Numbered(2)[0])[1, 4, 4]


def test_where_one_of_a_held_out_pair_is_broken_both_are_left_out_and_the_reason_is_kept():
    dataset = tiny_recipe().dataset.model_copy(update={"broken_images": "skip"})
    lists = (Numbered(4, 32, 32, broken=(1,)), Numbered(4, 32, 32))
    stores = tuple(open_store(each, dataset) for each in lists)
    pairs = HeldOutImages(Images(*lists, paired=True), dataset)
    (batch,) = pairs.batches(0, 4)
    assert torch.equal(batch.images[:, 0], batch.truth[:, 0])
    assert len(batch.images) == 3
    assert tuple(pairs.broken) == ("x/1.png is broken",)
    apart = held_out(stores, 4, 32)
    assert (len(apart.x), len(apart.y)) == (4, 4)


def test_without_a_load_size_resizing_is_the_seeds_and_with_one_the_papers():
    photo = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8, generator=torch.manual_seed(0))
    picture = transforms.functional.to_pil_image(photo)

    @dataclass
    class One(Numbered):
        def __getitem__(self, index):
            return photo

    dataset = tiny_recipe().dataset
    seed, _ = open_store(One(1), dataset.model_copy(update={"image_size": 128})).read(0)
    expected = transforms.functional.pil_to_tensor(transforms.Resize(128)(picture))
    assert (seed.int() - expected.int()).abs().max() <= 1
    settings = {"image_size": 256, "load_size": 286}
    paper, _ = open_store(One(1), dataset.model_copy(update=settings)).read(0)
    expected = transforms.functional.pil_to_tensor(
        transforms.Resize((286, 286), InterpolationMode.BICUBIC)(picture)
    )
    assert (paper.int() - expected.int()).abs().max() <= 2


def test_few_indices_are_spread_over_many():
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(3, 8) == [0, 1, 2]


def test_a_batch_holds_crops_from_everywhere_and_some_of_them_mirrored():
    data = training(Images(Numbered(1), Numbered(1)), train={"steps": 40})
    places, mirrored = set(), 0
    for x, _ in all_batches(data, stop=40):
        for image in ((x + 1) * 127.5).round():
            flipped = bool((image[1, 0, 0] + 1) % 251 != image[1, 0, 1])
            mirrored += flipped
            upright = image.flip(-1) if flipped else image
            first = int(upright[1, 0, 0])
            rows = (first + 40 * torch.arange(32)[:, None] + torch.arange(32)) % 251
            assert torch.equal(upright[1], rows.float())
            places.add(first)
    assert len(places) > 40  # of the 81 places a crop may be at
    assert 40 <= mirrored <= 80  # of 120


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_pair_with_a_broken_image_is_left_out_as_a_whole(cache):
    images = Images(Numbered(4, broken=(1,)), Numbered(4, broken=(2,)), paired=True)
    data = training(images, broken_images="skip", train={"cache": cache})
    assert all(torch.equal(x, y) for x, y in all_batches(data))


def test_without_a_whole_pair_there_is_nothing_to_train_on():
    images = Images(Numbered(2, broken=(0,)), Numbered(2, broken=(1,)), paired=True)
    with pytest.raises(ImgtransError, match="no pair of images is whole"):
        all_batches(training(images, broken_images="skip"))


def test_memory_is_judged_by_the_largest_of_a_few_images():
    class Growing(Numbered):
        def __getitem__(self, index):
            return torch.zeros(3, 40, 40 * (index + 1), dtype=torch.uint8)

    store = open_store(Growing(4), tiny_recipe().dataset.model_copy(update={"load_size": 40}))
    assert judged(store)[0] == 4 * 3 * 40 * 160


def test_a_containers_limit_counts_as_memory_does(tmp_path, monkeypatch):
    monkeypatch.setattr("imgtrans.data.keeping.CONTAINER", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100000000\n")
    assert training().cached
    (tmp_path / "memory.max").write_text("100000100\n")
    assert not training().cached
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 99000000\n")
    assert training().cached  # files that nobody has read lately make room


@pytest.mark.parametrize(("free", "cached"), [(1 << 40, True), (1 << 10, False)])
def test_images_are_cached_where_they_fit_into_half_of_the_free_memory(monkeypatch, free, cached):
    class Memory:
        available = free

    monkeypatch.setattr("imgtrans.data.keeping.psutil.virtual_memory", Memory)
    data = training()
    assert (data.cached, data.workers == 0) == (cached, cached)


def test_processes_of_one_machine_share_its_memory(monkeypatch):
    monkeypatch.setattr("imgtrans.data.keeping._free_bytes", lambda: 1000)
    assert fits_in_memory(300)
    monkeypatch.setattr("imgtrans.data.keeping.count_here", lambda: 2)
    assert not fits_in_memory(300)


def test_images_that_memory_keeps_need_no_workers_however_little_is_left(monkeypatch):
    monkeypatch.setattr("imgtrans.data.batches.fits_in_memory", lambda size: False)
    assert training(train={"cache": "memory"}).workers == 0


@dataclass
class Wide(Numbered):
    """Every image has another height."""

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        shape = (3, self.height + 3 * index, 61)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@dataclass
class Deep(Numbered):
    """Every other image has 16 bits."""

    def __getitem__(self, index):
        image = super().__getitem__(index)
        return (image.int() * 257).to(torch.uint16) if index % 2 else image


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        (Images(Wide(7), Numbered(5)), {}),
        (Images(Wide(7), Numbered(5)), {"flip": False}),
        (Images(Wide(7), Wide(7), paired=True), {}),
        (Images(Deep(7), Numbered(5)), {}),
        (Images(Deep(7, 41, 43), Deep(5, 43, 41)), {"load_size": 41}),
        (Images(Numbered(6, broken=(2, 3)), Numbered(5, broken=(4,))), {"broken_images": "skip"}),
    ],
)
def test_a_batch_gathered_from_one_buffer_is_the_batch_cut_image_by_image(images, changes):
    data = training(images, train={"cache": "memory"}, **changes)
    samples = data.samples
    for step, cut in enumerate(data.batches(0, 6, CPU)):
        gathered = samples.gathered(data.order.positions(step), samples.x.kept, samples.y.kept)
        assert gathered.broken == cut.broken
        assert same([gathered.to(CPU, torch.float32)], [cut.to(CPU, torch.float32)])


def test_images_that_are_kept_may_be_cut_by_workers_too():
    alone, helped = (training(train={"cache": "memory", "workers": count}) for count in (0, 1))
    assert same(all_batches(alone), all_batches(helped))


def parts(ranks, accumulate=1, batch_size=4, steps=3):
    """What each of several processes sees, as tensors of x and y."""
    train = {"steps": steps, "batch_size": batch_size, "accumulate": accumulate}
    recipe = tiny_recipe(train=train)
    images = Images(Numbered(7), Numbered(5))
    return [
        all_batches(open_training(recipe, images, quiet, share=(rank, ranks)), stop=steps)
        for rank in range(ranks)
    ]


def test_the_shares_of_several_processes_are_together_the_batch_of_one():
    (alone,), shares = parts(1), parts(2)
    together = [
        tuple(torch.cat(sides) for sides in zip(*step, strict=True))
        for step in zip(*shares, strict=True)
    ]
    assert same(alone, together)


def test_a_step_of_micro_batches_sees_what_as_many_steps_would():
    (single,), (accumulated,) = parts(1, steps=6), parts(1, accumulate=2, steps=3)
    joined = [
        tuple(torch.cat(sides) for sides in zip(*pair, strict=True))
        for pair in zip(single[::2], single[1::2], strict=True)
    ]
    assert same(joined, accumulated)


def test_each_process_has_its_part_of_every_micro_batch():
    order = Order(0, 4, (7, 5), paired=False, accumulate=2, share=(1, 2))
    assert order.positions(0) == [2, 3, 6, 7]
    assert order.positions(1) == [10, 11, 14, 15]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_is_torchvisions(mode):
    photo = torch.randint(0, 256, (3, 90, 131), dtype=torch.uint8, generator=torch.manual_seed(0))
    for image in (photo, photo.float() / 255):
        expected = functional.resize(image, [57, 83], InterpolationMode(mode), antialias=True)
        expected = expected.clamp(0, 1) if expected.is_floating_point() else expected
        assert torch.equal(fit(image, 57, mode), expected)


def test_images_are_cropped_alike_with_and_without_mirroring():
    mirrored, plain = (training(Images(Wide(7), Numbered(5)), flip=flip) for flip in (True, False))
    pairs = zip(mirrored.batches(0, 6, CPU), plain.batches(0, 6, CPU), strict=True)
    assert all(torch.equal(one.x, other.x) and torch.equal(one.y, other.y) for one, other in pairs)
