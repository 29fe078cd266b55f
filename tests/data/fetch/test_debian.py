"""Small packages of Debian's form on a web server of this machine."""

import gzip
import hashlib
import io
import lzma
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from web_server import Site, served

from speech_commands_kws.data.fetch.debian import DebianCorpora, content_of, shortened
from speech_commands_kws.errors import KwsError

SPEECH, TEXT = "pool/speech_1.0_all.deb", "pool/text_1.0_all.deb"
VERSES = ["Holy Bible.", "Ge1:1 In the beginning", "", "Ge1:2 And the earth"]


def package(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0", "data.tar.xz": lzma.compress(stream.getvalue())}
    return b"!<arch>\n" + b"".join(ar_member(name, content) for name, content in members.items())


def ar_member(name: str, content: bytes) -> bytes:
    """Of an ar archive; an odd length is followed by a byte that does not count."""
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
    return header.encode() + content + b"\n" * (len(content) % 2)


def compressed(text: str) -> bytes:
    """As compress(1) does, without finding repetitions: 9 bits a character, the lowest first."""
    codes = sum(ord(character) << 9 * i for i, character in enumerate(text))
    return codes.to_bytes(-(-9 * len(text) // 8), "little")


def bible(text: str) -> bytes:
    """Two blocks of a text, behind a table of where they begin."""
    blocks = [compressed(text[:30]), compressed(text[30:])]
    start = 0x58 + 4 * 4
    borders = [start, start + len(blocks[0]), start + sum(map(len, blocks))]
    header = b"EC02Compressed Data File".ljust(0x58, b"\0")
    return header + struct.pack(">I", 2) + struct.pack(">3I", *borders) + b"".join(blocks)


PACKAGES = {
    SPEECH: package(
        {
            "./usr/share/sounds/one/a.ogg": b"ogg",
            "./usr/share/sounds/one/silence/1.ogg": b"ogg",
            "./usr/share/doc/copyright": b"free",
            "/usr/share/../../../b.wav": b"wav",
            "./usr/share/doc/a/core-sounds-en.txt.gz": gzip.compress("a: Nö.\n".encode()),
            "./usr/share/etc/txt.done.data": b'( a_1 "No (so)" )\n( a_2 "Go" )\n',
            "./usr/share/game/dialogs_cs.lua": b'\ndialogId("a-b", "c", "Well.")\ndialogStr("No!")\n',
        }
    ),
    TEXT: package({"./usr/lib/bible.data": bible("\n".join(VERSES)), "./usr/lib/a.data": b"tree"}),
}


@pytest.fixture
def site() -> Iterator[Site]:
    with served(Site(dict(PACKAGES))) as site:
        yield site


def corpora(site: Site, root: Path, **changed: str) -> DebianCorpora:
    packages = [
        {
            "path": path,
            "size": len(PACKAGES[path]),
            "sha256": hashlib.sha256(PACKAGES[path]).hexdigest(),
            "folder": folder,
        }
        | changed
        for path, folder in {SPEECH: "train/speech", TEXT: "text"}.items()
    ]
    return DebianCorpora(str(root), f"{site.address}/", packages, ["silence"], 2, 0.01, 2.0)


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_sounds_and_texts_are_laid_out(site: Site, tmp_path: Path) -> None:
    root = corpora(site, tmp_path / "corpora").prepare()
    assert root == tmp_path / "corpora"
    assert names(root) == [
        ".lock",
        "text/bible.txt",
        "train/speech/b.wav",
        "train/speech/doc/a/transcripts.txt",
        "train/speech/etc/transcripts.txt",
        "train/speech/game/transcripts.txt",
        "train/speech/sounds/one/a.ogg",
    ]
    assert (root / "train/speech/sounds/one/a.ogg").read_bytes() == b"ogg"
    texts = [root / f"train/speech/{name}/transcripts.txt" for name in ("doc/a", "etc", "game")]
    texts = [path.read_text(encoding="utf-8") for path in texts]
    assert texts == ["a: Nö.\n", "a_1: No (so)\na_2: Go\n", "a-b: No!\n"]
    lines = (root / "text/bible.txt").read_text(encoding="utf-8")
    assert lines == "In the beginning\nAnd the earth\n"


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    corpora(site, tmp_path).prepare()
    (tmp_path / "text/bible.txt").unlink()
    site.requests.clear()
    corpora(site, tmp_path).prepare()
    assert site.requests == []


def test_some_of_a_package_may_be_wanted(site: Site, tmp_path: Path) -> None:
    corpora(site, tmp_path, only="a.ogg").prepare()
    assert names(tmp_path) == [".lock", "train/speech/sounds/one/a.ogg"]


def test_a_package_that_was_fetched_before_is_used(site: Site, tmp_path: Path) -> None:
    (tmp_path / "text_1.0_all.deb").write_bytes(PACKAGES[TEXT])
    corpora(site, tmp_path).prepare()
    assert [path for path, _ in site.requests] == [f"/{SPEECH}"]


def test_another_package_than_the_published_one_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="expected SHA-256 0000"):
        corpora(site, tmp_path, sha256="0000").prepare()
    assert names(tmp_path) == [".lock"]


def test_no_package_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(b"PK")
    with pytest.raises(KwsError, match="is no Debian package"), content_of(path):
        pass


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("./usr/share/a/b.wav", ("a", "b.wav")),
        ("usr/lib/b.wav", ("b.wav",)),
        ("/usr/share/../../../b.wav", ("b.wav",)),
    ],
)
def test_names_stay_in_the_folder(name: str, parts: tuple[str, ...]) -> None:
    assert shortened(PurePosixPath(name)) == parts


def test_g722_becomes_wav(tmp_path: Path) -> None:
    g722 = pytest.importorskip("G722", reason="the extra `corpora` is not installed")
    from speech_commands_kws.data.fetch.debian import write_g722

    tone = np.round(8000 * np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000)).astype(np.int16)
    write_g722(g722.G722(16_000, 64_000).encode(tone.tolist()), tmp_path / "a" / "b.g722")
    decoded, rate = soundfile.read(tmp_path / "a" / "b.wav")
    assert rate == 16_000 and len(decoded) == 16_000
    spectrum = np.abs(np.fft.rfft(decoded))
    assert spectrum.argmax() == 500 and np.std(decoded[2000:]) == pytest.approx(
        8000 / 32768 / np.sqrt(2), rel=0.02
    )
