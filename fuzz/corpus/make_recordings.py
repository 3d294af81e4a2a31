#!/usr/bin/env python3
"""Makes the seed files of recordings, pictures and videos, in place; needs ffmpeg for two of them."""

import struct
import subprocess
import wave
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent


def save(folder, name, content):
    path = HERE / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def pack212(samples):
    out = b""
    for a, b in zip(samples[::2], samples[1::2]):
        a, b = a & 0xFFF, b & 0xFFF
        out += bytes([a & 0xFF, a >> 8 | b >> 8 << 4, b & 0xFF])
    return out


# A record of two signals; the header without checksums lets damaged samples pass.
a, b = [i * 7 % 91 - 45 for i in range(20)], [i * i % 300 - 100 for i in range(20)]
both = [x for pair in zip(a, b) for x in pair]
save("wfdb-header", "sums.hea", f"r 2 12.5 20\nr.dat 212 200(3)/mV 12 0 {a[0]} {sum(a)} 0 a\nr.dat 212 0.5 12 5 {b[0]} {sum(b)} 0 b c\n# note\n")
save("wfdb-header", "plain.hea", "r 2 360/1.5(2) 20 12:00:00\nr.dat 212 200\nr.dat 212\n")
save("wfdb-header", "free.hea", "r 1\nr.dat 80x1:0+4 10\n")
save("wfdb-samples", "r.dat", pack212(both))
words = [28 << 10 | 2, 63 << 10 | 2, 0x4E28, 1 << 10 | 3, 62 << 10 | 1, 59 << 10, 0, 4, 5 << 10 | 1, 0]
save("wfdb-marks", "r.atr", struct.pack(f"<{len(words)}H", *words))

# Videos.
frames = [bytes((x * 7 + t * 30) % 256 for x in range(12)) for t in range(4)]
for name, head, colours in [("mono", "W4 H3 F10:1 Cmono", 0), ("420", "W4 H3 F30000:1001 Ip A1:1", 8), ("444", "W4 H3 F25:1 C444 XCOLORRANGE=FULL", 24)]:
    save("y4m", f"{name}.y4m", f"YUV4MPEG2 {head}\n".encode() + b"".join(b"FRAME\n" + frame + bytes(range(100, 100 + colours)) for frame in frames))
save("listing", "frames.csv", "frame,label,split,node\n0,a,train,x\n1,a,gap,x\n2,b,test,y\n3,,test,y\n")
save("listing", "files.csv", "file,label,split\nv.y4m,a,train\nother,b,TEST\n")
test = "testsrc=size=32x24:rate=8:duration=0.5"
subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", test, "-c:v", "mpeg4", "-bitexact", "-y", HERE / "a.mp4"], check=True)
save("mp4", "a.mp4", (HERE / "a.mp4").read_bytes())
subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", test, "-frames:v", "1", "-bitexact", "-y", HERE / "a.jpg"], check=True)
save("picture", "a.jpg", (HERE / "a.jpg").read_bytes())
(HERE / "a.mp4").unlink()
(HERE / "a.jpg").unlink()


def png(width, height, depth, colour, pixel_bytes):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((x * 5 + y) % 256 for x in range(pixel_bytes)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


save("picture", "grey.png", png(6, 4, 8, 0, 6))
save("picture", "rgb.png", png(5, 4, 8, 2, 15))
save("picture", "deep.png", png(5, 4, 16, 6, 40))
save("picture", "bits.png", png(9, 3, 1, 0, 2))

for name, width, channels in [("16", 2, 1), ("8", 1, 2), ("24", 3, 2)]:
    (HERE / "wav").mkdir(exist_ok=True)
    with wave.open(str(HERE / "wav" / f"{name}.wav"), "wb") as out:
        out.setparams((channels, width, 8000, 0, "NONE", ""))
        out.writeframes(bytes(i * 11 % 256 for i in range(12 * width * channels)))
floats = struct.pack("<6f", *(i / 4 for i in range(6)))
fmt = struct.pack("<HHIIHH", 3, 1, 100, 400, 4, 32)
save("wav", "float.wav", b"RIFF" + struct.pack("<I", 36 + len(floats)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(floats)) + floats)
