#!/usr/bin/env python3
"""Fails the system calls of every command, one after the other, and checks how the command ends.

    sweep.py BINARY [CASES]     a sample of CASES cases with a fixed seed, and all earlier failures; all cases without CASES

Each call fails once and then always, by strace's fault injection. In every case the command must end in time, with
exit status 0 or 1 and a reason on stderr, leave a store with a clean audit, and leave no incomplete file under a final
name.
"""

import concurrent.futures
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

SEED = 20261129
# A command waits up to 30 s for a locked store; the last relay polls once more at its end.
PATIENCE = 90
ERRORS = {
    "pread64": ["EIO"],
    "pwrite64": ["EIO", "ENOSPC"],
    "write": ["ENOSPC"],
    "fsync": ["EIO"],
    "fdatasync": ["EIO"],
    "ftruncate": ["EIO"],
    "fcntl": ["EIO"],
    "flock": ["EIO"],
    "openat": ["EIO", "EMFILE"],
    "unlink": ["EIO"],
    "renameat2": ["EIO"],
    "linkat": ["EIO"],
    "newfstatat": ["EIO"],
    "statx": ["EIO"],
    "access": ["EIO"],
    "mkdir": ["EIO"],
}
# Calls that have caused wrong ends before; every sample contains them.
ALWAYS = {("audit", "pread64"), ("backup", "unlink"), ("backup", "renameat2")}
FAILED_ONCE = {"audit", "backup", "relay"}
# SQLite releases its write lock: if that fails, the process takes its own lock for that of another writer.
WRITER_UNLOCK = re.compile(r"F_UNLCK, l_whence=SEEK_SET, l_start=120, l_len=1}")
HEADER = "order,customer_id,placed_at,product_id,quantity\n"
ORDERS = HEADER + "".join(f"r{n},1,2026-01-0{n}T00:00:00Z,1,1\n" for n in range(1, 4))
COMMANDS = {
    "init": (["init"], None),
    "create": (["--database", "new.db", "init"], None),
    "order": (["order", "1", "1:2", "--key", "swept"], None),
    "charge": (["charge", "1", "50", "--key", "swept"], None),
    "import": (["import", "orders", "-"], ORDERS),
    "balance": (["balance", "1"], None),
    "orders": (["orders", "list", "1"], None),
    "top": (["top"], None),
    "events": (["events", "list"], None),
    "relay": (["events", "relay", "--to", "file:events.jsonl", "--once"], None),
    "audit": (["audit"], None),
    "backup": (["backup", "copy.db"], None),
    "copy": (["copy", "--from", "shop.db", "--to", "copied.db"], None),
}


def run(command, folder, stdin=None, patience=PATIENCE):
    return subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, timeout=patience
    )


def commerce(binary, folder, *arguments, store="shop.db"):
    return run([binary, "--database", store, *arguments], folder)


def make_base(binary, folder):
    """Creates a store with rows of each kind."""
    for line in [
        "init", "customer add Kim", "customer add Lee", "charge 1 100000", "product add Tea 100 50",
        "product add Cup 50 50", "coupon add Spring --quantity 5 --amount 10", "coupon claim 1 1",
        "order 1 1:2 --coupon 1 --key o1", "order 1 2 --key o2", "order 1 1 --unpaid", "orders cancel 2",
        "cart set 1 2 2",
    ]:
        ended = commerce(binary, folder, *line.split())
        assert ended.returncode == 0, (line, ended.stderr)


def traced(binary, folder, name, inject, log):
    arguments, stdin = COMMANDS[name]
    strace = ["strace", "-f", "-qq", "-o", log, *inject]
    database = [] if name in ("copy", "create") else ["--database", "shop.db"]
    # A process group of its own: a hanging command is killed with its tracer.
    process = subprocess.Popen(
        [*strace, binary, *database, *arguments], cwd=folder, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return process.returncode, out, err
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
        return None, out, err


def cases_of(binary, base, name):
    """Returns the calls of the command that can fail, with the count of the busiest thread, from one run without failures."""
    with tempfile.TemporaryDirectory() as folder:
        work = os.path.join(folder, "work")
        shutil.copytree(base, work)
        log = os.path.join(folder, "log")
        traced(binary, work, name, ["-e", "trace=" + ",".join(ERRORS)], log)
        counts = {}
        unlocks = []
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                call = re.match(r"(\d+) +(\w+)\(", line)
                if call:
                    counts[call.groups()] = counts.get(call.groups(), 0) + 1
                    if WRITER_UNLOCK.search(line):
                        unlocks.append(str(counts[call.groups()]))
    for call, errors in ERRORS.items():
        most = max((count for (_, made), count in counts.items() if made == call), default=0)
        for number in range(1, most + 1):
            for error in errors:
                for more in ["", "+"]:
                    # One of four: all reads of an audit would take half a minute.
                    always = (name, call) in ALWAYS and number % 4 == 1
                    always |= call == "fcntl" and f"{number}{more}" in unlocks[:1]
                    yield always and name in FAILED_ONCE, (name, call, error, f"{number}{more}")


def try_case(binary, base, case):
    """Returns what is wrong with the end of the command, or None."""
    name, call, error, when = case
    with tempfile.TemporaryDirectory() as folder:
        work = os.path.join(folder, "work")
        shutil.copytree(base, work)
        log = os.path.join(folder, "log")
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
        status, out, err = traced(binary, work, name, inject, log)
        if status == 127:
            return None  # the loader of the program failed, before its first line
        if status is None:
            return "does not end"
        if status not in (0, 1):
            return f"ends with {status}: {out[-200:]} {err[-300:]}"
        # If the calls that write fail, the error message cannot be written either.
        if status == 1 and not err.strip() and call != "write":
            return "ends without a reason"
        if name == "create":
            created = commerce(binary, work, "init", store="new.db")
            if created.returncode != 0:
                return f"leaves what init cannot complete: {created.stderr[-300:]}"
        for store in ["shop.db", "copy.db"]:
            if store != "shop.db" and not os.path.exists(os.path.join(work, store)):
                if status == 0 and name == "backup":
                    return "reports a backup that is not there"
                continue
            audited = commerce(binary, work, "audit", store=store)
            if audited.returncode != 0:
                return f"leaves {store} so: {audited.stdout[-300:]} {audited.stderr[-300:]}"
        return None


def main():
    binary = os.path.abspath(sys.argv[1])
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else None
    can_trace = shutil.which("strace") and run(["strace", "-qq", "-o", "/dev/null", "true"], "/").returncode == 0
    if not can_trace:
        print("strace cannot trace on this machine (it needs ptrace): nothing was tried")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.join(folder, "base")
        os.mkdir(base)
        make_base(binary, base)
        found = [case for name in COMMANDS for case in cases_of(binary, base, name)]
        cases = [case for _, case in found]
        total = len(cases)
        if wanted is not None and wanted < total:
            known = [case for always, case in found if always]
            cases = known + random.Random(SEED).sample(cases, wanted)
        wrong, tried = [], {}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for case, problem in zip(cases, pool.map(lambda case: try_case(binary, base, case), cases)):
                tried[case[0]] = tried.get(case[0], 0) + 1
                if problem:
                    wrong.append((case, problem))
                    print("WRONG", *case, problem, flush=True)
        by_command = ", ".join(f"{name} {count}" for name, count in tried.items())
        print(f"{len(cases)} of {total} cases tried ({by_command}), {len(wrong)} wrong")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
