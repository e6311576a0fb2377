"""Weights are the right ones, whole and harmless, or there is an error that says what to do."""

import functools
import hashlib
import http.server
import json
import pickle
import shutil
import ssl
import subprocess
import threading

import pytest
import torch
from torch import nn

from resdx.errors import RunError, WeightsError
from resdx.models.backbones.resnet import ResidualNetwork
from resdx.models.heads.specs import Linear
from resdx.models.network import build
from resdx.models.packed import read_seen
from resdx.models.specs import OWN, Net, ResNet
from resdx.models.weights import (
    find_published,
    load_backbone,
    load_state,
    read_state,
    save_state,
    starting_file,
)

torch.set_num_threads(1)
NOWHERE = "https://127.0.0.1:9/"  # the discard port: nothing answers


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty cache and no folder of weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RESDX_WEIGHTS", raising=False)
    return tmp_path / "home" / "resdx" / "weights"


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def publish(folder, content=b"weights of someone"):
    """Put `content` into `folder` under a name with its own hash."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    return path


def test_what_was_saved_comes_back(tmp_path):
    one, two = small(), small()
    save_state(one.to(memory_format=torch.channels_last), tmp_path / "a.safetensors")
    load_state(two, tmp_path / "a.safetensors")
    for key, value in one.state_dict().items():
        assert torch.equal(two.state_dict()[key], value)


def test_saving_where_nothing_can_be_written_says_so(tmp_path):
    with pytest.raises(RunError, match="cannot be written"):
        save_state(small(), tmp_path / "absent" / "a.safetensors")


def test_wrong_shape_names_the_tensor_and_both_shapes(tmp_path):
    save_state(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"0\.weight is \(8, 3, 3, 3\), but the network takes \(4, 3, 3, 3\)"):
        load_state(small(), tmp_path / "a.safetensors")


def test_missing_and_surplus_tensors_are_named_and_nothing_is_loaded(tmp_path):
    save_state(small()[0], tmp_path / "few.safetensors")
    save_state(nn.Sequential(*small(), nn.Linear(2, 2)), tmp_path / "many.safetensors")
    module = small()
    before = module[0].weight.clone()
    with pytest.raises(WeightsError, match=r"no tensor 0\.weight \(4, 3, 3, 3\)"):
        load_state(module, tmp_path / "few.safetensors")
    with pytest.raises(WeightsError, match=r"2\.bias \(2,\) has no place"):
        load_state(module, tmp_path / "many.safetensors")
    assert torch.equal(module[0].weight, before)


def test_old_files_without_a_batch_count_load(tmp_path):
    one, two = small(), small()
    torch.save({key: value for key, value in one.state_dict().items() if "num_batches" not in key}, tmp_path / "old.pth")
    load_state(two, tmp_path / "old.pth")
    assert torch.equal(one[0].weight, two[0].weight)


def test_torchvision_file_loads_without_its_classifier(tmp_path):
    one, two = ResidualNetwork(ResNet(18)), ResidualNetwork(ResNet(18))
    torch.save({**one.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, tmp_path / "r.pth")
    load_backbone(two, tmp_path / "r.pth")
    assert torch.equal(one.conv1.weight, two.conv1.weight)
    torch.save({"state_dict": one.state_dict()}, tmp_path / "nested.pth")
    load_backbone(two, tmp_path / "nested.pth")


def test_backbone_of_a_run_starts_another_network(tmp_path):
    first = build(Net(ResNet(18)), 5)
    save_state(first, tmp_path / "best.safetensors")
    second = build(Net(ResNet(18, weights=str(tmp_path / "best.safetensors")), Linear()), 2)
    assert torch.equal(first.backbone.conv1.weight, second.backbone.conv1.weight)
    third = build(Net(ResNet(18)), 2, weights=tmp_path / "best.safetensors")
    assert torch.equal(first.backbone.conv1.weight, third.backbone.conv1.weight)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_file_cut_off_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    save_state(small(), path) if suffix == ".safetensors" else torch.save(small().state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match=r"a\.(pth|safetensors).*copy it again"):
        read_state(path)


class Malice:
    """Writes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, save):
    save({"0.weight": Malice(tmp_path / "run")}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="could run code"):
        read_state(tmp_path / "bad.pth")
    assert not (tmp_path / "run").exists()


def test_files_of_other_kinds_are_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "number.pth")
    (tmp_path / "net.h5").write_bytes(b"")
    for name, words in (("list.pth", "table"), ("number.pth", "table"), ("net.h5", "convert"), ("absent.pth", "not there")):
        with pytest.raises(WeightsError, match=words):
            read_state(tmp_path / name)


def test_without_network_and_file_the_error_says_what_to_do(home, monkeypatch):
    monkeypatch.setattr("resdx.models.backbones.resnet.URL", NOWHERE)
    with pytest.raises(WeightsError) as caught:
        build(Net(ResNet(50, weights="imagenet")), 2)
    message = str(caught.value)
    for words in ("resnet50-0676ba61.pth", "$RESDX_WEIGHTS", str(home), NOWHERE, "--weights FILE"):
        assert words in message
    assert not list(home.glob("*part"))


def test_a_run_that_brings_its_own_weights_needs_no_others():
    build(Net(ResNet(18, weights="imagenet")), 2, start=False)


def test_the_users_folder_goes_before_the_cache(tmp_path, home, monkeypatch):
    cached = publish(home)
    assert find_published(cached.name) == cached
    own = publish(tmp_path / "own")
    monkeypatch.setenv("RESDX_WEIGHTS", str(own.parent))
    assert find_published(own.name) == own
    own.unlink()
    assert find_published(cached.name) == cached
    monkeypatch.setenv("RESDX_WEIGHTS", str(tmp_path / "absent"))
    with pytest.raises(WeightsError, match="not a folder"):
        find_published(cached.name)


def test_a_file_with_another_hash_than_its_name_is_refused(home):
    path = publish(home)
    path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"is not the published net-.*delete it"):
        find_published(path.name)


def test_the_whole_hash_is_kept_at_first_use_and_must_stay(home):
    path = publish(home)
    find_published(path.name)
    ledger = home / "sha256.json"
    assert json.loads(ledger.read_text()) == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    ledger.write_text(json.dumps({path.name: path.name[4:12] + 56 * "0"}))  # the same first digits, then another file
    with pytest.raises(WeightsError, match="is not the published"):
        find_published(path.name)
    ledger.write_text("{")
    with pytest.raises(WeightsError, match="broken; delete it"):
        find_published(path.name)


@pytest.mark.parametrize("url", ["http://example.org/net-01234567.pth", "file:///net-01234567.pth"])
def test_only_https_is_fetched(url):
    with pytest.raises(WeightsError, match="https"):
        find_published("net-01234567.pth", url=url)


def test_a_name_without_a_hash_cannot_be_published():
    with pytest.raises(WeightsError, match="no hash in its name"):
        find_published("net.pth", url=NOWHERE)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder and the https address it is served at, by a certificate that this process trusts."""
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command to make a certificate")
    key, certificate, folder = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "served"
    folder.mkdir()
    settings = "-x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(["openssl", "req", *settings.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web = http.server.ThreadingHTTPServer(
        ("localhost", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    )
    web.socket = context.wrap_socket(web.socket, server_side=True)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "localhost")
    yield folder, f"https://localhost:{web.server_port}/"
    web.shutdown()
    web.server_close()


def test_a_download_is_checked_and_kept(server, home):
    folder, address = server
    path = publish(folder)
    found = find_published(path.name, url=address + path.name)
    assert found == home / path.name
    assert found.read_bytes() == path.read_bytes()
    path.unlink()
    assert find_published(found.name, url=address + found.name) == found


def test_a_wrong_download_is_thrown_away(server, home):
    folder, address = server
    path = publish(folder)
    path.write_bytes(b"cut")
    with pytest.raises(WeightsError, match="is not the published"):
        find_published(path.name, url=address + path.name)
    assert [entry.name for entry in home.iterdir()] == []


def test_an_address_that_is_gone_is_told(server):
    _, address = server
    with pytest.raises(WeightsError, match=r"cannot be fetched \(File not found\)"):
        find_published("net-01234567.pth", url=address + "net-01234567.pth")


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("depth", [18, 50])
def test_our_own_weights_are_small_load_and_say_what_they_have_seen(name, depth):
    path = starting_file(name, depth)
    assert path.stat().st_size <= 30e6 and path.with_suffix(".md").read_text().startswith(f"# ResNet-{depth},")
    assert len(read_seen(path).sha256) == 11_529
    given = build(Net(ResNet(depth, weights=name)), 2).backbone.state_dict()
    assert all(torch.isfinite(value).all() for value in given.values())
    assert not torch.equal(given["conv1.weight"], build(Net(ResNet(depth)), 2).backbone.conv1.weight)
