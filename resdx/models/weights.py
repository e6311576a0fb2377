"""Where starting weights come from, and how they get into a network; never a silent substitute.

A published file is looked for in `$RESDX_WEIGHTS` (a folder), then in the cache, then downloaded into the cache. Its
hash is checked before each use; the full sha256 seen first is kept in `sha256.json` of the cache and must stay the same.
"""

from __future__ import annotations

import http.client
import os
import pickle
import re
import shutil
import urllib.request
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..errors import AbsentWeightsError, RunError, WeightsError
from ..files import digest, read_json, write_bytes, write_json
from .packed import SEEN, unpack
from .specs import DEPTHS, OWN

TIMEOUT = 30  # s without an answer before a download is given up
STORED = "trunk."  # what the names of a backbone's tensors begin with in files, older than its name in the code
SHIPPED = Path(__file__).parent / "shipped"
CHUNK = 1 << 20  # bytes


def cache_folder() -> Path:
    """Where downloads are kept: `resdx/weights` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resdx" / "weights"


def shipped(weights: str, depth: int) -> Path | None:
    """The file of a depth under a name of OWN: ours, pre-trained on medical images.

    None where there is none.
    """
    path = SHIPPED / f"resnet{depth}{weights.removeprefix('resdx')}.safetensors"
    return path if path.is_file() else None


def starting_file(weights: str, depth: int) -> Path | None:
    """The file that the weights of a ResNet name: ours or a user's own.

    None for none and for the published ones.

    Raises:
        WeightsError: resdx has none of its own for this depth.
    """
    if weights in OWN:
        if (path := shipped(weights, depth)) is None:
            depths = ", ".join(str(one) for one in DEPTHS if shipped(weights, one))
            raise WeightsError(
                f"there is no ResNet-{depth} among the weights {weights!r} (there are {depths or 'none'}); choose another "
                "depth or other weights"
            )
        return path
    return Path(weights) if weights not in ("", "imagenet") else None


def find_published(file: str, *, url: str = "", sha256: str = "") -> Path:
    """The published `file`: from `$RESDX_WEIGHTS`, the cache, or `url`.

    Its hash must be `sha256` or begin as its name ends.

    Raises:
        WeightsError: it is nowhere and cannot be downloaded, or it is not the published file.
    """
    expected = sha256 or _digits(file)
    folder = os.environ.get("RESDX_WEIGHTS", "")
    if folder and not Path(folder).is_dir():
        raise WeightsError(f"RESDX_WEIGHTS is {folder}, which is not a folder; name the folder that holds the weights")
    for place in (Path(folder) if folder else cache_folder(), cache_folder()):
        if (path := place / file).is_file():
            check_hash(path, expected)
            return path
    advice = f"get {file} elsewhere and put it into {cache_folder()}, or name it with --weights FILE"
    if not url:
        raise AbsentWeightsError(
            f"{file} is neither in $RESDX_WEIGHTS nor in {cache_folder()}, and is not offered for download; {advice}"
        )
    return _download(url, cache_folder() / file, expected, advice)


def _digits(file: str) -> str:
    found = re.search(r"-([0-9a-f]{8,64})\.\w+$", file)
    if not found:
        raise WeightsError(f"{file} has no hash in its name to be checked by; name the file itself with --weights FILE")
    return found[1]


def _download(url: str, path: Path, expected: str, advice: str) -> Path:
    if not url.startswith("https://"):
        raise WeightsError(f"{url} is not a https address, so what comes from it cannot be trusted; {advice}")
    # Fetched under a name of its own and moved when it is whole: two processes may fetch it at once.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file, CHUNK)
        check_hash(part, expected, name=path.name)
        part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise AbsentWeightsError(
            f"{path.name} is neither in $RESDX_WEIGHTS nor in {path.parent}, and {url} cannot be fetched ({reason}); {advice}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def check_hash(path: Path, expected: str, name: str = "") -> None:
    """Raise WeightsError unless the sha256 of `path` begins with `expected`.

    It must also be the one seen before for `name`.
    """
    name = name or path.name
    found = digest(path)
    ledger = cache_folder() / "sha256.json"
    try:
        seen: dict[str, str] = read_json(ledger) if ledger.is_file() else {}
    except RunError as error:
        raise WeightsError(f"{ledger}, the list of hashes seen, is broken; delete it") from error
    wanted = seen.get(name, expected)
    # What the name promises, and what was seen under this name before.
    if not (found.startswith(expected) and found.startswith(wanted)):
        raise WeightsError(
            f"{path} is not the published {name}: its sha256 is {found}, not {wanted}; delete it and fetch it again"
        )
    if name not in seen:
        try:
            ledger.parent.mkdir(parents=True, exist_ok=True)
            write_json(ledger, seen | {name: found})
        except (OSError, RunError):
            return  # a home that cannot be written to: the published hash was right, and that is enough


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth or .pt file of nothing but tensors.

    They may lie under "state_dict".

    Raises:
        WeightsError: the file is absent, cut off, of another kind, or would run code when opened.
    """
    if not path.is_file():
        raise WeightsError(f"the weights file {path} is not there; check the path")
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise WeightsError(
            f"{path}: weights come as .safetensors, .pth or .pt, not {path.suffix or 'without a suffix'}; convert the file"
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Detected pickle protocol", UserWarning
            )  # we say ourselves what is wrong with the file
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path} holds more than tensors, and opening it could run code; save only its state_dict") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path} cannot be read as weights ({_first_line(error)}); it may be cut off: copy it again"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} is not a table of tensors; save only the network's state_dict")
    return dict(state)


def load_state(module: nn.Module, path: Path) -> None:
    """Fill `module` with the tensors of `path`.

    Every one must be there, with the right shape, and none too many.

    Raises:
        WeightsError: the file cannot be read or does not fit; the first name that does not fit is named.
    """
    fill(module, unpack(read_state(path)), str(path))


def load_backbone(backbone: nn.Module, path: Path, *, optional: str = "") -> None:
    """As `load_state`, for a backbone.

    A classifier's own head (`fc.*`, or `head.*` beside `backbone.*`) is left out.

    What begins with `optional` keeps its start where the file has nothing of it.
    """
    state = read_state(path)
    if path.suffix != ".safetensors" and any(key.startswith(SEEN) for key in state):
        raise WeightsError(
            f"{path} was packed by resdx and saved again, which loses what it has learnt from; use the .safetensors file"
        )
    state = unpack(backbone_of(state))
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    if optional and not any(key.startswith(optional) for key in state):
        state |= {key: value for key, value in backbone.state_dict().items() if key.startswith(optional)}
    fill(backbone, state, str(path))


def backbone_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's tensors where `state` is a whole network of ours, else `state` itself."""
    ours = {key.removeprefix(STORED): value for key, value in state.items() if key.startswith(STORED)}
    return ours or state


def store_names(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    """Of a network's `state_dict`, in place: its backbone's tensors under the names that files have."""
    _rename(state, f"{prefix}backbone.", prefix + STORED)


def own_names(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Of a `state_dict` that a network loads, in place: the inverse of `store_names`."""
    _rename(state, prefix + STORED, f"{prefix}backbone.")


def _rename(state: dict[str, Tensor], old: str, new: str) -> None:
    items = [(new + key.removeprefix(old) if key.startswith(old) else key, value) for key, value in state.items()]
    state.clear()
    state.update(items)


def fill(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Fill `module` with `state`, which came from `origin`.

    Raises WeightsError naming the first tensor that does not fit.
    """
    wanted = module.state_dict()
    for key, value in wanted.items():
        if key not in state:
            if key.endswith("num_batches_tracked"):
                continue  # files from before PyTorch 0.4.1 have none
            raise WeightsError(f"{origin} has no tensor {key} {tuple(value.shape)}; it belongs to another network")
        given, taken = tuple(state[key].shape), tuple(value.shape)
        if len(given) != len(taken) or any(b and a != b for a, b in zip(given, taken, strict=True)):  # 0: the file decides
            raise WeightsError(f"{origin}: {key} is {given}, but the network takes {taken}; it belongs to another network")
    if extra := [key for key in state if key not in wanted]:
        raise WeightsError(
            f"{origin}: {extra[0]} {tuple(state[extra[0]].shape)} has no place in the network; it belongs to another network"
        )
    module.load_state_dict(dict(state), strict=False)  # all names were compared above


def save_state(module: nn.Module, path: Path) -> None:
    """Write the tensors of `module` as .safetensors, whole or not at all.

    Raises RunError when it cannot be written.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    write_bytes(path, save(tensors))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
