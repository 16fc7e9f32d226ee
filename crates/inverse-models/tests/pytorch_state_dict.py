"""Writes two small PyTorch state dicts of the authors' forward network, and its outputs, for tests/import.rs.

    python3 pytorch_state_dict.py FOLDER            # with PyTorch where it can be imported, else by hand
    python3 pytorch_state_dict.py FOLDER --torch    # with PyTorch; exit status 3 without it or numpy

8-12-10-16, normalisation also behind the last layer (never applied, as in the authors' code), three transposed
convolutions and a pointwise one: 32 outputs. FOLDER gets member0.pth, member1.pth and outputs.csv: x (8 columns),
then y of member 0 and y of member 1 (32 columns each). PyTorch also writes other/: member 0 in double and in half
precision (with half.csv, its outputs), and files that are no state dict of this network.

By hand means: the container that torch.save writes (a zip of a pickle and raw storages) from the standard library,
and the outputs from numpy in double precision.
"""

import collections
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("numpy cannot be imported by python3", file=sys.stderr)
    sys.exit(3)

WIDTHS = [8, 12, 10, 16]
CONVOLUTIONS = [(1, 4, 8), (4, 4, 5), (4, 4, 5)]  # in, out, kernel


def weights(rng):
    tensors = collections.OrderedDict()
    for n, (inputs, outputs) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        tensors[f"linears.{n}.weight"] = rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)
        tensors[f"linears.{n}.bias"] = rng.normal(size=outputs)
    for n, outputs in enumerate(WIDTHS[1:]):
        tensors[f"bn_linears.{n}.weight"] = rng.normal(1, 0.3, size=outputs)
        tensors[f"bn_linears.{n}.bias"] = rng.normal(size=outputs)
        tensors[f"bn_linears.{n}.running_mean"] = rng.normal(size=outputs)
        tensors[f"bn_linears.{n}.running_var"] = rng.uniform(0.2, 2, size=outputs)
        tensors[f"bn_linears.{n}.num_batches_tracked"] = np.array(7)
    for n, (inputs, outputs, kernel) in enumerate(CONVOLUTIONS):
        tensors[f"convs.{n}.weight"] = rng.normal(size=(inputs, outputs, kernel)) / 3
        tensors[f"convs.{n}.bias"] = rng.normal(size=outputs)
    tensors["convs.3.weight"] = rng.normal(size=(1, 4, 1))
    tensors["convs.3.bias"] = rng.normal(size=1)
    kind = lambda name: np.int64 if name.endswith("tracked") else np.float32
    return collections.OrderedDict((name, value.astype(kind(name))) for name, value in tensors.items())


def convolve_transposed(value, weight, bias):
    stride = 2 if weight.shape[2] % 2 == 0 else 1
    padding = weight.shape[2] // 2 - 1 if stride == 2 else (weight.shape[2] - 1) // 2
    rows, _, length = value.shape
    full = np.zeros((rows, weight.shape[1], (length - 1) * stride + weight.shape[2]))
    for place in range(length):
        spread = np.einsum("rc,cok->rok", value[:, :, place], weight)
        full[:, :, place * stride : place * stride + weight.shape[2]] += spread
    return full[:, :, padding : full.shape[2] - padding] + bias[:, None]


def output(tensors, x):
    t = {name: value.astype(np.float64) for name, value in tensors.items()}
    value = x
    for n in range(3):
        value = value @ t[f"linears.{n}.weight"].T + t[f"linears.{n}.bias"]
        if n < 2:
            bn = f"bn_linears.{n}."
            value = (value - t[bn + "running_mean"]) / np.sqrt(t[bn + "running_var"] + 1e-5)
            value = np.maximum(value * t[bn + "weight"] + t[bn + "bias"], 0)
    value = value[:, None, :]
    for n in range(3):
        value = convolve_transposed(value, t[f"convs.{n}.weight"], t[f"convs.{n}.bias"])
    value = np.einsum("rcl,oc->rol", value, t["convs.3.weight"][:, :, 0]) + t["convs.3.bias"][:, None]
    return value[:, 0, :]


def torch_network(torch, tensors):
    class Forward(torch.nn.Module):
        def __init__(self):
            super().__init__()
            nn, pairs = torch.nn, list(zip(WIDTHS, WIDTHS[1:]))
            self.linears = nn.ModuleList(nn.Linear(*pair) for pair in pairs)
            self.bn_linears = nn.ModuleList(nn.BatchNorm1d(width) for width in WIDTHS[1:])
            strides = [(2, 3), (1, 2), (1, 2)]
            convolutions = [nn.ConvTranspose1d(*c, *s) for c, s in zip(CONVOLUTIONS, strides)]
            self.convs = nn.ModuleList(convolutions + [nn.Conv1d(4, 1, 1)])

        def forward(self, x):
            for linear, norm in zip(self.linears[:-1], self.bn_linears):
                x = torch.relu(norm(linear(x)))
            x = self.linears[-1](x).unsqueeze(1)
            for convolution in self.convs:
                x = convolution(x)
            return x.squeeze(1)

    network = Forward()
    network.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    return network.eval()


def save_by_hand(path, tensors):
    """What torch.save writes: the pickle names PyTorch's classes, so stand-ins bear their names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    storage = {}
    for name in ["FloatStorage", "LongStorage"]:
        storage[name] = type(name, (), {"__module__": "torch"})
        setattr(torch, name, storage[name])

    def rebuild(*_):
        raise NotImplementedError

    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", *["_rebuild_tensor_v2"] * 2
    utils._rebuild_tensor_v2 = rebuild
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils

    class Tensor:
        def __init__(self, key, value):
            self.key, self.value = key, value

        def __reduce__(self):
            strides = tuple(stride // self.value.itemsize for stride in self.value.strides)
            return rebuild, (Storage(self), 0, self.value.shape, strides, False, collections.OrderedDict())

    class Storage:
        def __init__(self, tensor):
            self.tensor = tensor

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            value = item.tensor.value
            kind = storage["LongStorage" if value.dtype == np.int64 else "FloatStorage"]
            return "storage", kind, item.tensor.key, "cpu", value.size

    wrapped = collections.OrderedDict((n, Tensor(str(i), v)) for i, (n, v) in enumerate(tensors.items()))
    text = io.BytesIO()
    Pickler(text, protocol=2).dump(wrapped)
    del sys.modules["torch"], sys.modules["torch._utils"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        entry = lambda name: zipfile.ZipInfo(f"{path.stem}/{name}")  # a fixed date: the same bytes each time
        archive.writestr(entry("data.pkl"), text.getvalue())
        for index, value in enumerate(tensors.values()):
            archive.writestr(entry(f"data/{index}"), value.tobytes())
        archive.writestr(entry("version"), "3\n")


def save_others(torch, folder, network, x):
    folder.mkdir()
    state = network.state_dict()
    torch.save(network.double().state_dict(), folder / "double.pth")
    torch.save(network.half().state_dict(), folder / "half.pth")
    # In single precision again: the rounded weights are what the importer reads.
    y = network.float()(torch.tensor(x)).detach().numpy()
    np.savetxt(folder / "half.csv", y, delimiter=",", fmt="%.9g")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": state}, folder / "checkpoint.pth")
    torch.save(torch.nn.Linear(8, 32), folder / "module.pth")
    torch.save(torch.nn.Linear(8, 32).state_dict(), folder / "linear.pth")
    torch.save([1, 2, 3], folder / "list.pth")


def main():
    folder = Path(sys.argv[1])
    try:
        import torch
    except ImportError:
        if "--torch" in sys.argv:
            print("PyTorch cannot be imported by python3", file=sys.stderr)
            sys.exit(3)
        torch = None
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1.2, size=(6, 8)).astype(np.float32)
    columns = [x.astype(np.float64)]
    for member in range(2):
        tensors = weights(rng)
        path = folder / f"member{member}.pth"
        if torch:
            network = torch_network(torch, tensors)
            torch.save(network.state_dict(), path)
            torch.load(path, weights_only=True)  # what PyTorch since 2.6 loads by itself
            columns.append(network(torch.tensor(x)).detach().numpy().astype(np.float64))
            if member == 0:
                save_others(torch, folder / "other", network, x)
        else:
            save_by_hand(path, tensors)
            columns.append(output(tensors, x.astype(np.float64)))
    np.savetxt(folder / "outputs.csv", np.concatenate(columns, axis=1), delimiter=",", fmt="%.9g")


if __name__ == "__main__":
    main()
