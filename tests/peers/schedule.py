"""Compares triggers with those of cronsim and systemd, and explains every difference.

usage: schedule.py CASES

CASES holds one JSON object a line: expression, zone, after (seconds), running, ours (the next six,
in seconds). A group of lines with the same zone and instant is asked of systemd in one process.
A difference that no rule below explains is printed, and the exit status is 1.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

UTC = timezone.utc
WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
NAMES = {
    3: dict(zip("jan feb mar apr may jun jul aug sep oct nov dec".split(), range(1, 13))),
    4: dict(zip((name.lower() for name in WEEKDAYS), range(7))),
}
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def show(at):
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def offset(zone, at):
    return int(datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset().total_seconds())


@lru_cache(maxsize=None)
def changes_of_day(zone, day):
    """The changes of offset from a day before to two days after the start of a day: (at, shift)."""
    found = []
    at, end = (day - 1) * 86400, (day + 2) * 86400
    while at < end:
        low, high = at, at + 3600
        before, after = offset(zone, low), offset(zone, high)
        if before != after:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            found.append((high, after - before))
        at += 3600
    return found


def changes_near(zone, at):
    return changes_of_day(zone, at // 86400)


def in_second_pass(zone, at):
    """Whether the local clock shows at this instant what it has shown before."""
    return any(shift < 0 and change <= at < change - shift for change, shift in changes_near(zone, at))


# --- cronsim -----------------------------------------------------------------------------------


def ask_cronsim(cases):
    from cronsim import CronSim

    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGVTALRM, stop)
    for case in cases:
        after = datetime.fromtimestamp(case["after"], ZoneInfo(case["zone"]))
        answers = []
        # All six take milliseconds; on some changes cronsim 2.8 loops for ever.
        signal.setitimer(signal.ITIMER_VIRTUAL, 2)
        try:
            for answer in itertools.islice(CronSim(case["expression"], after), 6):
                answers.append(int(answer.astimezone(UTC).timestamp()))
        except TimeoutError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        yield case, answers, None


def explain_cronsim(case, ours, theirs, at):
    """Why this instant is in one of the lists only, or None."""
    if at <= case["after"] and not case["running"]:
        if in_second_pass(case["zone"], case["after"]):
            return "asked in the second pass of a repeated hour, cronsim answers with the first"
        return None
    for change, shift in changes_near(case["zone"], at):
        wall = change + offset(case["zone"], change - 1)
        if not case["running"] or not -2 * 3600 <= at - change <= 26 * 3600:
            continue
        if shift % 3600 or wall % 3600:
            return "cronsim steps by whole hours over a change that is not at one: running times missed, repeated or sought for ever"
        if shift > 0 and wall % 86400 == 0:
            return "cronsim begins a day at a midnight that the clock jumped over: running times missed"
    return None


# --- systemd -----------------------------------------------------------------------------------


def values(index, field):
    low, high = RANGES[index]

    def number(text):
        return NAMES.get(index, {}).get(text.lower()) if not text.isdigit() else int(text)

    found = set()
    for item in field.split(","):
        base, _, step = item.partition("/")
        if base == "*":
            first, last = low, high
        elif "-" in base:
            first, last = map(number, base.split("-"))
        else:
            first = number(base)
            last = high if step else first
        found.update(range(first, last + 1, int(step or 1)))
    return sorted(found)


def to_calendar(expression):
    """The expression as OnCalendar=, or None: it joins both day fields by AND only."""
    fields = expression.split()
    if fields[2] != "*" and fields[4] != "*":
        return None
    minutes, hours, days, months, weekdays = (
        "*" if field == "*" else ",".join(f"{value:02}" for value in values(index, field))
        for index, field in enumerate(fields)
    )
    if weekdays == "*":
        prefix = ""
    else:
        prefix = ",".join(WEEKDAYS[day] for day in sorted({value % 7 for value in values(4, fields[4])})) + " "
    return f"{prefix}*-{months}-{days} {hours}:{minutes}:00"


def run_systemd(zone, after, calendars):
    return subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=6", f"--base-time=@{after}", *calendars],
        env={**os.environ, "TZ": zone, "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )


def read_systemd(zone, block):
    answers = []
    for line in block.splitlines():
        label, _, value = line.strip().partition(": ")
        # In UTC there is no second line with the same in UTC.
        if label == "(in UTC)" or (zone == "UTC" and (label == "Next elapse" or label.startswith("Iter"))):
            at = datetime.strptime(value.strip(), "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
            answers.append(int(at.timestamp()))
    return answers


def ask_systemd(cases):
    for (zone, after), group in itertools.groupby(cases, key=lambda case: (case["zone"], case["after"])):
        group = [(case, to_calendar(case["expression"])) for case in group]
        group = [(case, calendar) for case, calendar in group if calendar]
        if not group:
            continue
        answer = run_systemd(zone, after, [calendar for _, calendar in group])
        if answer.returncode == 0:
            blocks = answer.stdout.split("\n\n")
            assert len(blocks) == len(group), (len(blocks), len(group), answer.stdout[-500:])
            for (case, _), block in zip(group, blocks):
                yield case, read_systemd(zone, block), None
            continue
        # One that fails leaves the others without a place in the output: each by itself.
        for case, calendar in group:
            answer = run_systemd(zone, after, [calendar])
            gave_up = None
            if "Infinite loop in calendar calculation" in answer.stderr:
                gave_up = "systemd gives up by itself: \"Infinite loop in calendar calculation\""
            yield case, read_systemd(zone, answer.stdout), gave_up


def explain_systemd(case, ours, theirs, at):
    """Why this instant is in one of the lists only, or None."""
    zone = case["zone"]
    if at in theirs:
        if in_second_pass(zone, at) and in_second_pass(zone, case["after"]):
            return "asked in the second pass of a repeated hour, systemd runs a fixed time again"
        return None
    if case["running"] and in_second_pass(zone, at):
        return "systemd runs through a repeated hour once"
    if any(shift > 0 and change <= at <= change + shift for change, shift in changes_near(zone, at)):
        return "systemd leaves out what the clock jumps over, and what comes as long after the jump"
    for change, shift in changes_near(zone, at):
        winter_is_the_exception = datetime.fromtimestamp(change - 1, ZoneInfo(zone)).dst()
        of_day = (change + offset(zone, change)) % 86400
        if shift > 0 and winter_is_the_exception and change <= at < change + 86400 - of_day:
            return "systemd leaves out the rest of the day where the season that ends is marked as the exception"
    return None


# --- comparison --------------------------------------------------------------------------------


def differing(case, ours, theirs):
    """The instants that are in one of the lists only, as far as both lists reach."""
    passed = [at for at in theirs if at <= case["after"]]
    ahead = theirs[len(passed):]
    steps = itertools.takewhile(lambda pair: pair[0] < pair[1], itertools.pairwise([case["after"], *ahead]))
    increasing = [at for _, at in steps]
    if len(increasing) < len(ahead) or len(theirs) < len(ours):
        # They stopped, or went round in circles, where our next one is.
        missing = [at for at in ours if not increasing or at > increasing[-1]]
        end = missing[0] if missing else ours[-1]
    else:
        end = min(ours[-1], increasing[-1]) if increasing else case["after"]
    return sorted({at for at in set(ours) ^ set(increasing) if at <= end} | set(passed))


def compare(peer, cases, ask, explain):
    count, unexplained, explained, examples = 0, 0, Counter(), {}
    for case, theirs, gave_up in ask(cases):
        count += 1
        ours = case["ours"]
        if ours == theirs:
            continue
        reasons = {gave_up} if gave_up else {explain(case, ours, theirs, at) for at in differing(case, ours, theirs)}
        shown = f"{case['expression']!r} in {case['zone']} after {show(case['after'])}"
        if not reasons or None in reasons:
            unexplained += 1
            # Ten are enough to see what they have in common.
            if unexplained <= 10:
                print(f"UNEXPLAINED {peer}: {shown}")
                print(f"  ours   {', '.join(map(show, ours))}")
                print(f"  theirs {', '.join(map(show, theirs))}")
            continue
        reason = "; ".join(sorted(reasons))
        explained[reason] += 1
        examples.setdefault(reason, shown)
    print(f"{peer}: {count} schedules compared, {sum(explained.values())} differ and are explained, {unexplained} are not")
    for reason, number in explained.most_common():
        print(f"  {number} x {reason} ({examples[reason]})")
    return unexplained


def not_tested(what):
    print(f"NOT TESTED: {what}")
    if skips := os.environ.get("SNAPKEEP_SKIPS"):
        with open(skips, "a") as file:
            print(what, file=file)


def main():
    with open(sys.argv[1]) as file:
        cases = [json.loads(line) for line in file]
    unexplained = 0
    try:
        import cronsim  # noqa: F401
    except ImportError:
        not_tested("schedules against cronsim, because this Python does not have it")
    else:
        unexplained += compare("cronsim", cases, ask_cronsim, explain_cronsim)
    if shutil.which("systemd-analyze"):
        unexplained += compare("systemd", cases, ask_systemd, explain_systemd)
    else:
        not_tested("schedules against systemd, because there is no systemd-analyze")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
