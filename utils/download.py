"""Files from their official addresses, checked by SHA-256: from LGM_DATA_DIR, from data/cache, or downloaded.

Nothing unchecked is ever used: a file's bytes are hashed each time they are read, and a download becomes a
file only after its hash is right.
"""

from __future__ import annotations

import bz2
import hashlib
import logging
import lzma
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from utils import paths

TIMEOUT = 30  # seconds without an answer before the next mirror is tried


class DataError(RuntimeError):
    """A data file is missing, damaged or out of reach; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One file: where it lies in a data folder, its SHA-256, and the addresses to try in turn.

    ``packed``: (path, SHA-256) of a copy compressed by bzip2 or xz that LGM_DATA_DIR may hold in its place.
    ``unpack``: what makes the file of what the addresses send; it raises ValueError where it cannot.
    """

    path: str
    sha256: str
    urls: tuple[str, ...]
    packed: tuple[str, str] | None = None
    unpack: Callable[[bytes], bytes] | None = None


def read(source: Source) -> bytes:
    """The file's bytes, checked. Looks in LGM_DATA_DIR, then in data/cache, then downloads into data/cache.

    Raises DataError: a file with a wrong hash, an unreadable or missing folder, no mirror that answers.
    """
    folder = os.environ.get("LGM_DATA_DIR", "").strip()
    if folder:
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise DataError(
                f"LGM_DATA_DIR names {root}, which is no folder. Correct the variable or unset it."
            )
        if (root / source.path).is_file():
            return _checked(root / source.path, source.sha256, _FOREIGN)
        if source.packed and (root / source.packed[0]).is_file():
            content = _checked(root / source.packed[0], source.packed[1], _FOREIGN)
            return (lzma if source.packed[0].endswith(".xz") else bz2).decompress(content)
    target = paths.data_folder() / "cache" / source.path
    if not target.is_file():
        _download(source, target)
    return _checked(target, source.sha256, "Delete it and run again.")


_FOREIGN = "Put the original file there, or unset LGM_DATA_DIR to download it."


def _checked(path: Path, sha256: str, advice: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). {advice}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"{path} is damaged or not the official file ({len(content):,} bytes, wrong SHA-256). {advice}"
        )
    return content


def _download(source: Source, target: Path) -> None:
    """Try the addresses in turn; ``target`` comes into being whole and checked, or not at all."""
    import pooch
    import requests
    from tqdm import tqdm

    pooch.get_logger().setLevel(logging.WARNING)  # the progress bar says it
    failures = []
    for url in source.urls:
        bar = tqdm(desc=target.name, total=1, unit="B", unit_scale=True, file=sys.stdout, leave=False)
        downloader = pooch.HTTPDownloader(
            progressbar=bar, chunk_size=2**16, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
        )
        try:
            if source.unpack is None:
                pooch.retrieve(
                    url,
                    f"sha256:{source.sha256}",
                    fname=target.name,
                    path=target.parent,
                    downloader=downloader,
                )
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                    sent = pooch.retrieve(url, None, fname="sent", path=folder, downloader=downloader)
                    made = Path(folder) / target.name
                    made.write_bytes(source.unpack(Path(sent).read_bytes()))
                    if hashlib.sha256(made.read_bytes()).hexdigest() != source.sha256:
                        raise ValueError("not the official content")
                    made.replace(target)
            return
        except requests.HTTPError as error:
            failures.append(f"{url} answered {getattr(error.response, 'status_code', error)}")
        except requests.Timeout:
            failures.append(f"{url} did not answer within {TIMEOUT} seconds")
        except requests.exceptions.ChunkedEncodingError:
            failures.append(f"{url} broke off")
        except requests.RequestException:
            failures.append(f"{url} could not be reached")
        except ValueError:  # the hash does not match; temporary files are gone
            failures.append(f"{url} sent a damaged or changed file")
        except OSError as error:
            raise DataError(
                f"{target} could not be written ({error.strerror or error}). Free some space or make the "
                "folder writable, or set LGM_DATA_DIR to a folder that has the file."
            ) from None
        finally:
            bar.close()
    raise DataError(
        f"{target.name} could not be downloaded: {'; '.join(failures)}. Check the network and run again, or "
        f"set LGM_DATA_DIR to a folder that has it as {source.path}, or save it as {target}."
    )


def _four_files(folder: str, bases: tuple[str, ...], hashes: dict[str, str]) -> dict[str, Source]:
    """The four IDX files of an MNIST-like set; every address in ``bases`` has them under the same names."""
    names = {
        "train-images": "train-images-idx3-ubyte.gz",
        "train-labels": "train-labels-idx1-ubyte.gz",
        "test-images": "t10k-images-idx3-ubyte.gz",
        "test-labels": "t10k-labels-idx1-ubyte.gz",
    }
    return {
        part: Source(f"{folder}/{name}", hashes[part], tuple(base + name for base in bases))
        for part, name in names.items()
    }


MNIST = _four_files(
    "mnist",
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    {
        "train-images": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "test-images": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "test-labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)

FASHION_MNIST = _four_files(
    "fashion_mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
    ),
    {
        "train-images": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "test-images": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "test-labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)

BINARIZED_MNIST = {
    part: Source(
        path=f"binarized_mnist/binarized_mnist_{name}.amat",
        sha256=text,
        urls=(
            "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
            f"binarized_mnist_{name}.amat",
        ),
        packed=(f"binarized_mnist/binarized_mnist_{name}.amat.bz2", packed),
    )
    for part, name, text, packed in (
        (
            "train",
            "train",
            "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
            "0138a791cac44a1c40c54417fc583a721976d03af8dff9bc631618fcec506a32",
        ),
        (
            "validation",
            "valid",
            "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
            "f0a25829824c873ac6a40f528e1a72ff2f61baa5b8f593b33e4715bc33fc86a2",
        ),
        (
            "test",
            "test",
            "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
            "ec2f379c5902bbbe2480a1f2d535ee41cd59aaaa3ef2927810a47accc246b015",
        ),
    )
}
