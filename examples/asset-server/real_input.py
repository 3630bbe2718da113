#!/usr/bin/env python3
"""Serves real game data and compares every byte that comes back.

    real_input.py --server-bin target/release/asset-server --pack-bin target/release/pack CACHE_FOLDER

Downloads Debian packages of game data by name (apt-get download, once), unpacks them, mounts
their archives and folders, and fetches every archive entry and every regular file: whole, by
random ranges, by HEAD and conditionally, over several connections that stay open. What must come
back is computed from Python's zipfile and from the files themselves, with later mounts shadowing
earlier ones. Links that leave their root must answer 404.

Then makes a pack of each of the archives and folders, checks it, mounts the packs, and fetches
every entry again, by path and by the hash of its content.

Needs python3, apt-get and dpkg-deb; exits with 1 at any difference.
"""

import argparse
import glob
import http.client
import os
import queue
import random
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import zipfile

# Package, and what of it is mounted, as patterns, in the order of mounting.
PACKAGES = [
    ("minetest-data", ["usr/share/games/minetest"]),
    ("teeworlds-data", ["usr/share/games/teeworlds"]),
    ("freedm", ["usr/share/games/doom"]),
    ("openarena-data", ["usr/share/games/openarena/baseoa/*.pk3",
                        "usr/share/games/openarena/missionpack/*.pk3"]),
]
# How the packs are made, in turn: quickly, as this is about their bytes.
PACK_OPTIONS = [["--codec", "lz4"], ["--codec", "zstd", "--level", "1"],
                ["--codec", "none", "--align", "4K"], ["--codec", "lz4", "--block-len", "256K"]]
LINKS_MAX = 40
FAILURES_SHOWN = 20
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
IO_TIMEOUT_S = 60


# ---------------------------------------------------------------------------------------- inputs

def unpacked(cache, package):
    """Returns the folder with the package's files, downloading and unpacking it if need be."""
    folder = os.path.join(cache, package)
    if not os.path.isdir(folder):
        with tempfile.TemporaryDirectory(dir=cache) as work:
            # As root, apt would otherwise drop to a user that may not write here, and warn.
            command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
            subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
            (deb,) = [name for name in os.listdir(work) if name.endswith(".deb")]
            files = os.path.join(work, "files")
            subprocess.run(["dpkg-deb", "-x", os.path.join(work, deb), files], check=True)
            os.rename(files, folder)
    return folder


def package_roots(cache):
    roots = []
    for package, places in PACKAGES:
        base = unpacked(cache, package)
        for place in places:
            found = sorted(glob.glob(os.path.join(glob.escape(base), place)))
            if not found:
                sys.exit(f"{package}: nothing at {place}")
            roots += found
    return roots


def make_links_root(work, shadowed):
    """Makes a folder of links, good and bad, that also shadows a file of the other roots."""
    root, outside = os.path.join(work, "links"), os.path.join(work, "outside")
    os.makedirs(os.path.join(root, "folder"))
    os.makedirs(outside)
    for path, text in [(f"{root}/plain.txt", b"plain\n"), (f"{root}/folder/deep.bin", b"\0\1" * 5000),
                       (f"{root}/empty", b""), (f"{outside}/secret", b"secret\n"),
                       (f"{root}/100% & <odd> \"name\".txt", b"odd\n")]:
        write(path, text)
    write(os.path.join(os.fsencode(root), b"not-utf8-\xff.txt"), b"bytes\n")
    shadow = os.path.join(os.fsencode(root), shadowed)
    os.makedirs(os.path.dirname(shadow), exist_ok=True)
    write(shadow, b"this one shadows the file of an earlier root\n")
    for name, target in [("inside", "plain.txt"), ("inside-folder", "folder"),
                         ("folder/up-and-inside", "../plain.txt"), ("chain", "inside"),
                         ("absolute", f"{outside}/secret"), ("up", "../outside/secret"),
                         ("absolute-inside", f"{root}/plain.txt"), ("folder-outside", outside),
                         ("up-folder", "../outside"), ("system", "/etc/passwd"), ("slash", "/"),
                         ("around", "../links/plain.txt"), ("loop", "loop"), ("dangling", "no"),
                         ("proc", "/proc/self/environ"), ("chain-out", "absolute")]:
        os.symlink(target, os.path.join(root, name))
    os.mkfifo(os.path.join(root, "fifo"))
    probes = ["folder-outside/secret", "up-folder/secret", "slash/etc/passwd", "inside-folder/deep.bin",
              "plain.txt/below", "folder", "fifo", "no-such-file"]
    return root, [os.fsencode(probe) for probe in probes]


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


# ------------------------------------------------------------------------- what must come back

def is_plain(name):
    """Whether a name can be asked for: no empty or dot component, NUL or backslash."""
    parts = name.split(b"/")
    return not (b"\0" in name or b"\\" in name or any(p in (b"", b".", b"..") for p in parts))


class Folder:
    def __init__(self, root):
        self.root = os.fsencode(root)

    def names(self):
        """Every file, link and other thing below the root that is not a folder."""
        for parent, folders, files in os.walk(self.root):
            links = [n for n in folders if os.path.islink(os.path.join(parent, n))]
            for name in files + links:
                yield os.path.relpath(os.path.join(parent, name), self.root)

    def lookup(self, name):
        """Resolves a name as openat2 with RESOLVE_BENEATH does; gives a regular file or None."""
        todo, done, links = name.split(b"/"), [], 0
        while todo:
            part = todo.pop(0)
            if part in (b"", b"."):
                continue
            if part == b"..":
                if not done:
                    return None
                done.pop()
                continue
            path = os.path.join(self.root, *done, part)
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                return None
            if stat.S_ISLNK(mode):
                links += 1
                target = os.readlink(path)
                if links > LINKS_MAX or target.startswith(b"/"):
                    return None
                todo = target.split(b"/") + todo
            else:
                done.append(part)
        path = os.path.join(self.root, *done)
        return ("file", path) if stat.S_ISREG(os.lstat(path).st_mode) else None

    def packed(self, name):
        """What a pack of the folder has under a name: links count by where they end."""
        root, path = (os.path.realpath(p) for p in (self.root, os.path.join(self.root, name)))
        is_below = path.startswith(root + b"/")
        return ("file", path) if is_below and os.path.isfile(path) else None


class Archive:
    def __init__(self, path):
        self.path = path
        self.infos = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                encoding = "utf-8" if info.flag_bits & 0x800 else "cp437"
                name = info.filename.encode(encoding)
                if not info.is_dir() and is_plain(name):
                    self.infos[name] = info

    def names(self):
        return iter(self.infos)

    def lookup(self, name):
        info = self.infos.get(name)
        return ("entry", self.path, info) if info else None

    packed = lookup


class Pack:
    """A pack made of another mount: what of that can be an entry."""

    def __init__(self, mount):
        found = ((name, mount.packed(name)) for name in mount.names() if is_entry(name))
        self.files = {name: what for name, what in found if what}

    def names(self):
        return iter(self.files)

    def lookup(self, name):
        return self.files.get(name)


def is_entry(name):
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return is_plain(name) and len(name) <= 1024


def make_packs(program, roots, mounts, work):
    """Makes a pack of each root; returns their paths and what must be in them."""
    paths, packs = [], []
    for number, (root, mount) in enumerate(zip(roots, mounts)):
        path = os.path.join(work, f"{number}.clpk")
        options = PACK_OPTIONS[number % len(PACK_OPTIONS)]
        subprocess.run([program, "build", "--quiet", "--skip", *options, "-o", path, root],
                       check=True, stderr=subprocess.DEVNULL)
        subprocess.run([program, "verify", "--quiet", path], check=True)
        listed = subprocess.run([program, "ls", "--null", path], check=True, capture_output=True)
        pack = Pack(mount)
        wrong = set(listed.stdout.split(b"\0")[:-1]) ^ pack.files.keys()
        if wrong:
            sys.exit(f"{root}: listed and not there, or the reverse: {sorted(wrong)[:5]}")
        paths.append(path)
        packs.append(pack)
    return paths, packs


class Contents:
    """Reads what must come back; one per thread, as ZipFile shares its position."""

    def __init__(self):
        self.archives = {}

    def read(self, found):
        if found[0] == "file":
            with open(found[1], "rb") as file:
                return file.read()
        _, path, info = found
        if path not in self.archives:
            self.archives[path] = zipfile.ZipFile(path)
        return self.archives[path].read(info)


def expectations(mounts, probes):
    """Returns (name, what it is or None) for every name of every mount, and for the probes."""
    names = set(probes)
    for mount in mounts:
        names.update(name for name in mount.names() if is_plain(name))
    for name in sorted(names):
        yield name, next(filter(None, (m.lookup(name) for m in reversed(mounts))), None)


# -------------------------------------------------------------------------------------- fetching

class Client:
    """One connection; fails what differs, and counts what it did."""

    def __init__(self, address, seed, ranges, has_hashes):
        self.address, self.has_hashes = address, has_hashes
        # Asked for twice, by path and by hash, every file has enough of them with one.
        self.ranges = 1 if has_hashes else ranges
        self.random = random.Random(seed)
        self.contents = Contents()
        self.totals = dict.fromkeys(
            ["files", "entries", "missing", "requests", "bytes", "connects"], 0)
        self.failures = []
        self.connection = None

    def request(self, method, name, headers=None):
        """Asks once; a connection that the server closed is an error, not a reason to retry."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=IO_TIMEOUT_S)
            self.connection.connect()
            self.totals["connects"] += 1
        self.connection.auto_open = 0
        try:
            self.connection.request(method, name, headers=headers or {})
            response = self.connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise
        self.totals["requests"] += 1
        self.totals["bytes"] += len(body)
        if response.will_close:
            self.connection = None
        return response, body

    def check(self, name, found):
        try:
            self.check_one(name, found)
        except (AssertionError, OSError, http.client.HTTPException) as error:
            self.failures.append(f"{os.fsdecode(name)!a}: {type(error).__name__}: {error}")

    def check_one(self, name, found):
        url = "/a/" + urllib.parse.quote(name, safe="/")
        if found is None:
            response, _ = self.request("GET", url)
            expect("status of what is not there", response.status, 404)
            self.totals["missing"] += 1
            return
        content = self.contents.read(found)
        etag = self.check_content(url, content)
        if self.has_hashes:
            assert re.fullmatch(r'"[0-9a-f]{64}"', etag), f"ETag {etag}"
            expect("ETag by hash", self.check_content("/cas/" + etag.strip('"'), content), etag)
        self.totals["files" if found[0] == "file" else "entries"] += 1

    def check_content(self, name, content):
        """Checks what is under a path; returns its entity tag."""
        response, body = self.request("GET", name)
        expect("status", response.status, 200)
        expect_bytes("body", body, content)
        expect("Content-Length", response.getheader("Content-Length"), str(len(content)))
        expect("Accept-Ranges", response.getheader("Accept-Ranges"), "bytes")
        etag = response.getheader("ETag")
        assert etag and re.fullmatch(r'"[^"]+"', etag), f"ETag {etag}"
        self.check_head(name, content, etag)
        self.check_ranges(name, content, etag)
        return etag

    def check_head(self, name, content, etag):
        response, body = self.request("HEAD", name)
        expect("HEAD", (response.status, body, response.getheader("Content-Length")),
               (200, b"", str(len(content))))
        response, body = self.request("GET", name, {"If-None-Match": etag})
        expect("If-None-Match", (response.status, body), (304, b""))

    def check_ranges(self, name, content, etag):
        size = len(content)
        response, _ = self.request("GET", name, {"Range": f"bytes={size}-"})
        expect("beyond the end", (response.status, response.getheader("Content-Range")),
               (416, f"bytes */{size}"))
        if not content:
            return
        for _ in range(self.ranges):
            first = self.random.randrange(size)
            last = min(size - 1, first + self.random.randrange(1 << self.random.randrange(1, 22)))
            form, first, last = self.random.choice([
                (f"{first}-{last}", first, last),
                (f"{first}-", first, size - 1),
                (f"-{size - first}", first, size - 1),
                (f"{first}-{size + last}", first, size - 1),
            ])
            headers = {"Range": f"bytes={form}"}
            if self.random.random() < 0.25:
                headers["If-Range"] = etag
            response, body = self.request("GET", name, headers)
            expect(form, (response.status, response.getheader("Content-Range")),
                   (206, f"bytes {first}-{last}/{size}"))
            expect_bytes(form, body, content[first:last + 1])
        if size >= 8:
            self.check_parts(name, content)

    def check_parts(self, name, content):
        size = len(content)
        a, b, c, d = sorted(self.random.sample(range(size), 4))
        if c <= b + 1:
            return
        response, body = self.request("GET", name, {"Range": f"bytes={c}-{d},{a}-{b}"})
        expect("parts", response.status, 206)
        kind = response.getheader("Content-Type")
        found = re.fullmatch(r"multipart/byteranges; boundary=([0-9A-Za-z]+)", kind)
        assert found, kind
        parts = (b"\r\n" + body).split(b"\r\n--" + found[1].encode())
        expect("frame", (len(parts), parts[0], parts[-1]), (4, b"", b"--\r\n"))
        for part, (first, last) in zip(parts[1:3], [(c, d), (a, b)]):
            head, _, bytes_of_part = part.partition(b"\r\n\r\n")
            line = f"Content-Range: bytes {first}-{last}/{size}".encode()
            assert line in head.split(b"\r\n"), head
            expect_bytes("part", bytes_of_part, content[first:last + 1])


def expect(what, got, wanted):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


def expect_bytes(what, got, wanted):
    if got != wanted:
        at = next((i for i, (g, w) in enumerate(zip(got, wanted)) if g != w),
                  min(len(got), len(wanted)))
        raise AssertionError(f"{what}: {len(got)} bytes for {len(wanted)}, differing at {at}")


def fetch_all(address, work, arguments, has_hashes=False):
    """Shares the work out to the connections; returns the clients."""
    jobs = queue.SimpleQueue()
    for job in work:
        jobs.put(job)
    clients = [Client(address, f"{arguments.seed}-{index}", arguments.ranges, has_hashes)
               for index in range(arguments.connections)]

    def run(client):
        while True:
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                return
            client.check(*job)

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients


# ------------------------------------------------------------------------------------ the server

class Server:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        watchdog = threading.Timer(START_TIMEOUT_S, self.process.kill)
        watchdog.start()
        self.address = None
        for line in self.process.stdout:
            found = re.match(r"listening on http://(.*):(\d+)", line)
            if found:
                self.address = (found[1].strip("[]"), int(found[2]))
                break
        watchdog.cancel()
        if self.address is None:
            self.process.kill()
            sys.exit(f"the server did not start, exit code {self.process.wait()}")

    def stop(self):
        """Asks the server to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", help="folder for the packages; kept between runs")
    parser.add_argument("--server-bin", required=True)
    parser.add_argument("--pack-bin", help="makes packs; without it only folders and archives")
    parser.add_argument("--server-arg", action="append", default=[], help="passed on, repeatable")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--ranges", type=int, default=4, help="random ranges per file")
    arguments = parser.parse_args()

    cache = os.path.abspath(arguments.cache)
    os.makedirs(cache, exist_ok=True)
    roots = package_roots(cache)
    with tempfile.TemporaryDirectory() as work:
        shadowed = sorted(Archive(roots[-1]).names())[0]
        links, probes = make_links_root(work, shadowed)
        roots.append(links)
        mounts = [Folder(r) if os.path.isdir(r) else Archive(r) for r in roots]
        code = serve_and_compare(roots, mounts, probes, arguments)
        if arguments.pack_bin:
            packs, contents = make_packs(arguments.pack_bin, roots, mounts, work)
            # Nothing but their own names, and some that are not there.
            probes = [b"no-such-file", b"folder"]
            code |= serve_and_compare(packs, contents, probes, arguments, has_hashes=True)
    sys.exit(code)


def serve_and_compare(roots, mounts, probes, arguments, has_hashes=False):
    """Serves these roots and fetches all that is in them; returns the exit code."""
    jobs = list(expectations(mounts, probes))
    command = [arguments.server_bin, "--listen", "127.0.0.1:0", *arguments.server_arg, *roots]
    server = Server(command)
    try:
        clients = fetch_all(server.address, jobs, arguments, has_hashes)
    finally:
        code = server.stop()
    return report(roots, jobs, clients, code)


def report(roots, jobs, clients, code):
    """Prints the totals; returns the exit code."""
    for root in roots:
        print(f"root {root}")
    totals = {key: sum(client.totals[key] for client in clients) for key in clients[0].totals}
    print(", ".join(f"{value} {key}" for key, value in totals.items()))
    failures = [failure for client in clients for failure in client.failures]
    checked = totals["files"] + totals["entries"] + totals["missing"]
    if checked + len(failures) != len(jobs):
        failures.append(f"only {checked} of {len(jobs)} names were checked")
    if totals["connects"] > len(clients) and not failures:
        failures.append(f"{totals['connects']} connects for {len(clients)} connections")
    if code != 0:
        failures.append(f"the server ended with {code}")
    for failure in failures[:FAILURES_SHOWN]:
        print(f"DIFFERENCE {failure}")
    print(f"{len(failures)} differences" if failures else "every byte is the same")
    return 1 if failures else 0


if __name__ == "__main__":
    main()
