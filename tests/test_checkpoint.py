"""Checkpoints: whole or not there, never wrong unnoticed, exact."""

import os
import random

import pytest
import torch
from toys import batch_of, tiny_paper_recipe, tiny_recipe, trainer_of

from imgtrans import ImgtransError, checkpoint, state
from imgtrans.checkpoint import CorruptFileError
from imgtrans.saving import refuse_other_pools
from imgtrans.training import train_step

ABOUT = {"kind": "checkpoint", "recipe": {}, "step": 7, "seconds": 1.0, "fingerprint": "x"}
TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(3), "none": torch.empty(0, 2)}


def test_what_is_written_is_read(tmp_path):
    checkpoint.write(tmp_path / "file", TENSORS, {"step": 7})
    content = checkpoint.read(tmp_path / "file")
    assert content.about == {"step": 7}
    assert all(torch.equal(content.tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_hash_does_not_depend_on_the_order_of_writing(tmp_path):
    reverse = dict(reversed(TENSORS.items()))
    assert checkpoint.write(tmp_path / "1", TENSORS, {}) == checkpoint.write(
        tmp_path / "2", reverse, {}
    )


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_noticed(tmp_path, seed):
    checkpoint.write(tmp_path / "file", TENSORS, {"step": 7})
    data = bytearray((tmp_path / "file").read_bytes())
    bit = random.Random(seed).randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    (tmp_path / "file").write_bytes(data)
    try:
        content = checkpoint.read(tmp_path / "file")
    except CorruptFileError:
        return
    # a flip in padding, or in the case of a hex digit of the header, changes no content
    assert content.about == {"step": 7}
    assert all(torch.equal(content.tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_off_is_noticed(tmp_path, share):
    checkpoint.write(tmp_path / "file", TENSORS, {})
    data = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CorruptFileError, match="damaged"):
        checkpoint.read(tmp_path / "file")


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    checkpoint.write(tmp_path / "file", TENSORS, {"step": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path / "file", TENSORS, {"step": 2})
    monkeypatch.undo()
    assert checkpoint.read(tmp_path / "file").about == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), fsync(fd))[1])
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda a, b: (calls.append("rename"), replace(a, b))[1]
    )
    checkpoint.write(tmp_path / "file", TENSORS, {})
    assert calls == ["sync", "rename", "sync"]


def trained(recipe, steps):
    trainer = trainer_of(recipe)
    for step in range(steps):
        train_step(trainer, *batch_of(trainer, step))
    return trainer


def through_a_file(recipe, trainer, path):
    checkpoint.write(path, state.collect(trainer), {"step": trainer.step})
    content = checkpoint.read(path)
    fresh = trainer_of(recipe)
    state.restore(fresh, content.tensors, content.about["step"])
    return fresh


@pytest.mark.parametrize("make", [tiny_recipe, tiny_paper_recipe])
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_going_on_from_a_file_equals_never_stopping(tmp_path, make, stop):
    recipe = make()
    whole = trained(recipe, 5)
    resumed = through_a_file(recipe, trained(recipe, stop), tmp_path / "file")
    for step in range(stop, 5):
        train_step(resumed, *batch_of(resumed, step))
    ours, theirs = state.collect(whole), state.collect(resumed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_checkpoint_holds_weights_moments_and_pools():
    names = state.collect(trained(tiny_paper_recipe(), 2))
    kinds = {"/".join(name.split("/")[:3]).partition(".")[0] for name in names}
    assert {"networks/generators", "networks/discriminators", "pool/summer_to_winter"} <= kinds
    assert "optimizer/generators/exp_avg" in {"/".join(n.split("/")[:3]) for n in names}


def test_other_networks_are_refused_with_the_first_difference():
    saved = state.collect(trained(tiny_recipe(), 1))
    wider = tiny_recipe().generator.model_copy(update={"width": 4})
    with pytest.raises(
        ImgtransError, match=r"other networks: 72 tensors differ; .* is \(8, 8, 3, 3\)"
    ):
        state.restore(trainer_of(tiny_recipe(generator=wider)), saved, 1)


def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_used(tmp_path):
    for step in (1, 2):
        checkpoint.write(tmp_path / checkpoint.name_of(step), TENSORS, {**ABOUT, "step": step})
    (tmp_path / checkpoint.name_of(2)).write_bytes(b"rubbish")
    warnings: list[str] = []
    content = checkpoint.newest(tmp_path, warnings.append)
    assert content is not None
    assert content.about["step"] == 1
    assert "set aside as step-00000002.safetensors.damaged" in warnings[0]


def test_checkpoints_are_in_the_order_of_their_steps_however_many_digits_these_have(tmp_path):
    steps = [7, 99_999_999, 100_000_000, 1_000_000_000]
    for step in steps:
        (tmp_path / checkpoint.name_of(step)).touch()
    assert [checkpoint.step_of(path) for path in checkpoint.found(tmp_path)] == steps[::-1]
    checkpoint.prune(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1000000000.safetensors"]


def test_pruning_keeps_the_newest_and_clears_what_a_killed_writer_left(tmp_path):
    for step in (1, 2, 3, 10):
        checkpoint.write(tmp_path / checkpoint.name_of(step), TENSORS, {})
    (tmp_path / ".step-00000011.safetensors.99.tmp").write_bytes(b"half")
    checkpoint.prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        checkpoint.name_of(3),
        checkpoint.name_of(10),
    ]


def test_restored_moments_lie_in_memory_as_their_parameters_do(tmp_path):
    """On CUDA channels are last; a fused optimizer walks parameter and moment side by side."""

    def channels_last(trainer):
        for network in trainer.networks.values():
            network.to(memory_format=torch.channels_last)
        return trainer

    whole = channels_last(trainer_of(tiny_recipe()))
    for step in range(2):
        train_step(whole, *batch_of(whole, step))
    checkpoint.write(tmp_path / "file", state.collect(whole), {"step": 2})
    resumed = channels_last(trainer_of(tiny_recipe()))
    state.restore(resumed, checkpoint.read(tmp_path / "file").tensors, 2)
    for phase in resumed.phases:
        for parameter in phase.parameters.values():
            moment = phase.optimizer.state[parameter]["exp_avg"]
            assert moment.stride() == parameter.stride()
    for trainer in (whole, resumed):
        train_step(trainer, *batch_of(trainer, 2))
    ours, theirs = state.collect(whole), state.collect(resumed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ([1], "its description is no table"),
        ({"kind": "checkpoint"}, "does not tell its recipe"),
        ({"kind": "model"}, "does not tell its recipe"),
        ({**ABOUT, "step": "../7"}, "its step makes no sense"),
        ({**ABOUT, "step": True}, "its step makes no sense"),
        ({**ABOUT, "step": -1}, "its step makes no sense"),
        ({**ABOUT, "seconds": float("nan")}, "its seconds makes no sense"),
        ({**ABOUT, "step": 10**400}, "its step makes no sense"),
        ({**ABOUT, "seconds": 10**400}, "its seconds makes no sense"),
        ({**ABOUT, "best": {"step": 1, "metric": "x", "value": -(10**400)}}, "its best value"),
        ({**ABOUT, "recipe": "x"}, "its recipe makes no sense"),
        ({**ABOUT, "best": {"step": 1}}, "the best checkpoint makes no sense"),
        ({**ABOUT, "best": {"step": [], "metric": "x", "value": 0}}, "its best step makes no"),
    ],
)
def test_a_description_that_cannot_be_ours_is_refused_though_its_hash_is_right(
    tmp_path, about, says
):
    checkpoint.write(tmp_path / "file", TENSORS, about)
    with pytest.raises(CorruptFileError, match=f"that imgtrans has written: .*{says}"):
        checkpoint.read(tmp_path / "file")


@pytest.mark.parametrize("metadata", [b"null", b"3", b'"sha256"', b"[]"])
def test_a_header_whose_metadata_is_no_table_is_told(tmp_path, metadata):
    header = b'{"__metadata__":' + metadata + b"}"
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CorruptFileError, match="is no file of imgtrans"):
        checkpoint.read(tmp_path / "file")


def test_a_header_that_is_said_to_be_longer_than_the_file_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes((1 << 62).to_bytes(8, "little") + b'{"a":[' + b"1," * 10**6)
    with pytest.raises(CorruptFileError, match="its header alone has"):
        checkpoint.read(tmp_path / "file")


def test_a_header_of_a_hundred_megabytes_is_not_read(tmp_path):
    header = b'{"__metadata__":{"about":"' + b"x" * 10**8 + b'"}}'
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CorruptFileError, match="its header alone has 100,000,029 bytes"):
        checkpoint.read(tmp_path / "file")


def test_a_model_among_the_checkpoints_is_set_aside(tmp_path):
    checkpoint.write(tmp_path / checkpoint.name_of(1), TENSORS, ABOUT)
    checkpoint.write(tmp_path / checkpoint.name_of(2), TENSORS, {"kind": "model", "recipe": {}})
    told = []
    assert checkpoint.newest(tmp_path, told.append).about == ABOUT
    assert "is whole, but no checkpoint" in told[0]


@pytest.mark.parametrize("change", ["step", "exp_avg", "shape", "type", "unknown"])
def test_moments_that_fit_no_parameter_are_refused(change):
    trainer = trainer_of(tiny_recipe())
    train_step(trainer, *batch_of(trainer)).read()
    saved = state.collect(trainer)
    name = next(name for name in saved if name.startswith("optimizer/generators/exp_avg/"))
    if change in ("step", "exp_avg"):
        saved.pop(name.replace("/exp_avg/", f"/{change}/"))
    elif change == "unknown":
        saved[f"{name}.more"] = saved[name]
    else:
        saved[name] = saved[name].int() if change == "type" else torch.ones(7)
    with pytest.raises(
        ImgtransError, match="the checkpoint's optimizer of the generators does not"
    ):
        state.restore(trainer, saved, 1)


def test_a_pool_of_other_images_is_refused():
    recipe = tiny_recipe(train={"pool_images": 3})
    refuse_other_pools({"pool/winter": torch.zeros(3, 3, 32, 32)}, recipe)
    for shape in ((4, 3, 32, 32), (3, 1, 32, 32), (3, 3, 32, 31), (3,), ()):
        with pytest.raises(ImgtransError, match="the checkpoint's pool of winter"):
            refuse_other_pools({"pool/winter": torch.zeros(shape)}, recipe)
