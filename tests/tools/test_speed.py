"""`make speed`: both sides are the same model, and what is missing is said in one line."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tools import rivals, speed

SIZES = {  # small ones of each kind of case
    "VAE_CASES": [(16, 8, 3, 5, 20, 1, 1.0)],
    "DCGAN_CASES": [((8, 8), 4, 3, 5, 2, 1.0)],
    "WGAN_CASES": [(16, 8, 3, 5, 2, 2, 1.0)],
    "PIXELCNN_CASES": [(8, 2, 3, 2, 1.0)],
    "GPT_CASES": [(11, 6, 16, 2, 4, 3, 2, 1.0)],
    "REALNVP_CASES": [(3, (8, 8), 5, 2, 1.0)],
    "UNET_CASES": [((8, 8), 4, 1, 5, 2, 1.0)],
}
OPTIONAL = "optional: PyTorch is not installed (pip install -e '.[speed]')"
WEEKS = {"vae": "week06_vae", "dcgan": "week08_gan", "wgan": "week09_advanced_gan"}
WEEKS |= {"pixelcnn": "week10_autoregressive", "gpt": "week11_transformers"}
WEEKS |= {"realnvp": "week12_flows", "unet": "week13_diffusion"}


def weights(shapes) -> list[int]:
    """The sizes of all trainable arrays, in order of size."""
    return sorted(int(np.prod(shape)) for shape in shapes)


@pytest.mark.parametrize("name", WEEKS)
def test_both_sides_are_the_same_model(name, monkeypatch):
    """Equal arrays on both sides, and all are trained; PixelCNN's differ by rows that are masked."""
    torch = pytest.importorskip("torch", reason=OPTIONAL)
    if not (speed.ROOT / "notebooks" / f"{WEEKS[name]}.py").is_file():
        pytest.skip(f"{WEEKS[name]} is not written yet")
    import keras

    for case, sizes in SIZES.items():
        monkeypatch.setattr(speed, case, sizes)
    made: dict[str, list] = {}
    networks: list = []
    fit = keras.Model.fit

    def look(model, *arguments, **options):
        made["ours"] = [model]
        return fit(model, *arguments, **options)

    def compare(what, per, count, ours, other, theirs, goal):
        ours()
        arrays = [parameter for network in networks for parameter in network.parameters()]
        before = [array.detach().clone() for array in arrays]
        theirs()
        made["theirs"] = [array.shape for array in arrays]
        made["moved"] = [not torch.equal(a, b) for a, b in zip(before, arrays, strict=True)]

    for maker in ("mlp", "dcgan_networks", "pixelcnn_network", "gpt_network", "unet_network"):
        original = getattr(rivals, maker)

        def record(*arguments, original=original):
            result = original(*arguments)
            networks.extend(result if isinstance(result, tuple) else [result])
            return result

        monkeypatch.setattr(rivals, maker, record)
    monkeypatch.setattr(keras.Model, "fit", look)
    for case in getattr(speed, name)():
        compare(*case)
    ours = weights(weight.shape for weight in made["ours"][0].trainable_weights)
    theirs = weights(made["theirs"])
    if name == "pixelcnn":  # 3×7 and, in each block, 3 more weights of a kernel: rows below the centre
        assert sum(theirs) - sum(ours) == 8 * 3 * 7 + 2 * 8 * 4 * 3
        assert len(theirs) == len(ours)
    else:
        assert theirs == ours
    still = 1 if name == "wgan" else 0  # the critic's last bias: its slopes of real and drawn images cancel
    assert made["moved"].count(False) == still


def test_pixelcnn_has_the_published_size():
    pytest.importorskip("torch", reason=OPTIONAL)
    C, blocks, *_ = speed.PIXELCNN_CASES[0]
    network = rivals.pixelcnn_network(C, blocks)
    assert sum(parameter.numel() for parameter in network.parameters()) == 532_673


def test_rivals_look_at_nothing_later():
    """What PyTorch computes is masked as ours is: an output's slope in its own and in later inputs is 0."""
    torch = pytest.importorskip("torch", reason=OPTIONAL)
    x = torch.rand(1, 1, 5, 5, requires_grad=True)
    logits = rivals.pixelcnn_network(8, 2)(x)
    (slope,) = torch.autograd.grad(logits[0, 0, 2, 2], x)
    seen = slope[0, 0].flatten() != 0
    assert seen[11] and not seen[12:].any()
    network, rows = rivals.gpt_network(11, 6, 16, 2, 4), torch.arange(6)[None]
    changed = torch.where(torch.arange(6) == 4, 9, rows)
    same = torch.isclose(network(rows), network(changed), atol=1e-6).all(-1)[0]
    assert same[:4].all() and not same[4:].any()


def test_without_pytorch(monkeypatch, capsys):
    import tensorflow as tf

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda n: None)
    for variable in ("TF_CPP_MIN_LOG_LEVEL", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "2")
    assert speed.main(["gpt"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "PyTorch is not installed" in error and "pip install" in error


def test_unknown_comparison(capsys):
    with pytest.raises(SystemExit):
        speed.main(["vea"])
    assert (
        "there is no vea; there are rbm, vae, dcgan, wgan, pixelcnn, gpt, realnvp, unet"
        in capsys.readouterr().err
    )


def test_ratio_is_the_median_of_neighbours(monkeypatch, capsys):
    times = iter([2.0, 1.0] * 4 + [9.0, 1.0] * 2 + [1.0, 2.0] * 3)
    monkeypatch.setattr(speed, "seconds", lambda run: next(times))
    assert speed.compare("x", "a step", 2, int, "PyTorch", int, 1.0)
    said = capsys.readouterr().out
    assert "1000.0 ms a step, PyTorch 500.0 ms, ratio 2.00 (goal: at most 1.0)  TOO SLOW" in said
