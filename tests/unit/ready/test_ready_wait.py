"""The wait loop: how fast it notices, what ends it, and what it tells."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from local_server import LocalServer, closed_port

from envctl.errors import EngineFailed, OutOfMemory, ServiceExited, ServiceNotReady
from envctl.kinds import probe
from envctl.model import Attempt, Connection, Death, Verdict
from envctl.ready.base import SOCKETS, Pace
from envctl.ready.handshake import Handshake
from envctl.ready.tcp import TcpProbe
from envctl.ready.wait import ReadyEvent, Watch, check_once, wait_until_ready

NOT_YET, READY = Attempt(Verdict.NOT_YET, "not there"), Attempt(Verdict.READY, "here")


class Scripted:
    """A probe that answers what a function says, given the number of the try; it remembers the limits it was given."""

    def __init__(self, answer: Callable[[int], Attempt], pace: Pace = SOCKETS) -> None:
        self._answer, self.pace = answer, pace
        self.limits: list[float] = []

    def describe(self) -> str:
        return "answers the script"

    def attempt(self, limit_s: float) -> Attempt:
        self.limits.append(limit_s)
        return self._answer(len(self.limits) - 1)


def never(_: int) -> Attempt:
    return NOT_YET


def soon(seconds: float) -> float:
    return time.monotonic() + seconds


def redis_like(link: socket.socket, _: int) -> None:
    """Answers every command as a ready Redis does."""
    while link.recv(65536):
        link.sendall(b"+OK\r\n+PONG\r\n$9\r\nloading:0\r\n")


def redis_probe(port: int) -> Handshake:
    function = probe("redis")
    assert function
    return Handshake(Connection("cache", "redis", "127.0.0.1", port, password="secret"), function)


@contextmanager
def later(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join(5)


# -- how fast ------------------------------------------------------------------------------------------------------


def noticed_after_s(
    prepare: Callable[[], LocalServer], become_ready: Callable[[LocalServer], None], at_s: float
) -> float:
    """Seconds between the instant at which a service became ready and the return of the wait."""
    instant = [0.0]
    with prepare() as server:

        def act() -> None:
            become_ready(server)
            instant[0] = time.monotonic()

        with later(at_s, act):
            wait_until_ready({"cache": redis_probe(server.port)}, deadline_s=soon(10))
            returned = time.monotonic()
    return returned - instant[0]


def best_median(delay_s: Callable[[float], float]) -> float:
    """The median of five delays, measured at different moments; on a busy machine the best of three such rounds.

    Whatever else runs on the machine can only add to a delay.
    """
    best = float("inf")
    for _ in range(3):
        best = min(best, statistics.median(delay_s(0.1 + i * 0.0137) for i in range(5)))
        if best < 0.03:
            break
    return best


def test_readiness_is_noticed_within_30_ms() -> None:
    """A service that starts to listen is noticed within 30 ms (the median of several)."""

    def delay_s(at_s: float) -> float:
        return noticed_after_s(lambda: LocalServer(redis_like, listening=False), LocalServer.listen, at_s)

    assert best_median(delay_s) < 0.03


def test_a_hanging_first_attempt_delays_nothing() -> None:
    """While connections made too early hang for ever (as docker-proxy leaves them), the next ones are tried."""
    ready = threading.Event()

    def hang_if_early(link: socket.socket, number: int) -> None:
        if ready.is_set():
            redis_like(link, number)
        while link.recv(65536):
            pass

    def delay_s(at_s: float) -> float:
        ready.clear()
        return noticed_after_s(lambda: LocalServer(hang_if_early), lambda _: ready.set(), 0.1 + at_s)

    assert best_median(delay_s) < 0.06


def test_a_slow_handshake_completes() -> None:
    """Where every honest answer takes 400 ms, longer than an early attempt may last, the service is still proven."""

    def slow(link: socket.socket, number: int) -> None:
        link.recv(65536)
        threading.Event().wait(0.4)
        link.sendall(b"+OK\r\n+PONG\r\n$9\r\nloading:0\r\n")

    with LocalServer(slow) as server:
        done = wait_until_ready({"cache": redis_probe(server.port)}, deadline_s=soon(5))

    assert done["cache"].ready_ms < 4000


def test_attempts_grow_rarer_and_longer() -> None:
    """The pace follows from the time waited: dense and short at first, bounded later."""
    pace = Pace()

    assert pace.interval_s(0) == pace.interval_s(3.0) == 0.02
    assert pace.interval_s(15) == pytest.approx(0.1)
    assert pace.interval_s(600) == 0.25
    assert pace.limit_s(0, long=False) < 0.15
    assert pace.limit_s(10, long=True) >= 2.0
    assert pace.limit_s(600, long=True) == pace.most_limit_s


def test_attempts_under_way_are_bounded() -> None:
    """However long each attempt hangs, only so many are made at a time."""
    running, most, lock = [0], [0], threading.Lock()
    release = threading.Event()

    def hang(_: int) -> Attempt:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        release.wait(5)
        with lock:
            running[0] -= 1
        return NOT_YET

    with pytest.raises(ServiceNotReady):
        wait_until_ready({"a": Scripted(hang)}, deadline_s=soon(0.5))
    release.set()

    assert most[0] == SOCKETS.short_slots + SOCKETS.long_slots


def test_many_services_in_parallel() -> None:
    """Services are waited for at the same time, and each one's time is its own."""
    began = time.monotonic()

    def after(seconds: float) -> Callable[[int], Attempt]:
        return lambda _: READY if time.monotonic() - began >= seconds else NOT_YET

    probes = {f"s{i}": Scripted(after(0.05 * i)) for i in range(6)}
    done = wait_until_ready(probes, deadline_s=soon(5))

    assert list(done) == list(probes)
    assert done["s0"].ready_ms < 240 <= done["s5"].ready_ms < 1000
    assert done["s5"].attempts > done["s0"].attempts
    assert done["s5"].last == READY


def test_nothing_to_wait_for() -> None:
    """An environment without services is ready."""
    assert wait_until_ready({}, deadline_s=soon(0)) == {}


def test_a_service_being_started_is_not_tried_too_early() -> None:
    """The first try comes when the engine tells of the start: one made earlier spoils the next second of them."""
    watch, script = Watch(), Scripted(lambda _: READY)
    tries_before: list[int] = []

    def start() -> None:
        tries_before.append(len(script.limits))
        watch.started("db")

    with later(0.3, start):
        done = wait_until_ready({"db": script}, deadline_s=soon(5), watch=watch, starting=["db"])

    assert tries_before == [0]
    assert done["db"].attempts == 1
    assert 290 <= done["db"].ready_ms < 1000


def test_a_lost_start_does_not_end_in_a_timeout() -> None:
    """A service whose start was never told is tried all the same, only later."""
    done = wait_until_ready({"db": Scripted(lambda _: READY)}, deadline_s=soon(10), starting=["db"])

    assert 2900 <= done["db"].ready_ms < 6000


# -- what ends it --------------------------------------------------------------------------------------------------


def test_a_death_ends_the_wait_at_once() -> None:
    """A service that stops is told within a moment, with exit code, time and its last lines."""
    watch = Watch()
    death = Death("websocket", 1, log_tail=("", "Error: Cannot find module './server.js'", ""), ran_s=0.8)
    began = time.monotonic()
    with later(0.1, lambda: watch.report(death)), pytest.raises(ServiceExited) as caught:
        wait_until_ready({"websocket": Scripted(never)}, deadline_s=soon(10), watch=watch)

    assert time.monotonic() - began < 2.0
    assert caught.value.message == 'service "websocket" stopped with code 1 after 0.8 s'
    assert caught.value.cause == "its last line: \"Error: Cannot find module './server.js'\""
    assert caught.value.evidence == death.log_tail
    assert caught.value.subject == {"service": "websocket", "exit_code": 1}


def test_a_death_reported_before_the_wait_counts() -> None:
    """A service that died while the others were still being started ends the wait before it begins."""
    watch = Watch()
    watch.report(Death("db", 127))

    with pytest.raises(ServiceExited) as caught:
        wait_until_ready({"db": Scripted(never)}, deadline_s=soon(10), watch=watch)

    assert "was not found in the image" in (caught.value.cause or "")


def test_a_death_of_a_service_that_was_ready_counts() -> None:
    """An environment with a dead service is not ready, though that service was once."""
    watch = Watch()
    probes = {"db": Scripted(lambda _: READY), "slow": Scripted(never)}
    with later(0.1, lambda: watch.report(Death("db", 0))), pytest.raises(ServiceExited) as caught:
        wait_until_ready(probes, deadline_s=soon(10), watch=watch)

    assert caught.value.subject["service"] == "db"
    assert "must keep running" in (caught.value.cause or "")


def test_out_of_memory_is_told_as_such() -> None:
    """A service killed at its memory limit has an error of its own, which says what to raise."""
    watch = Watch()
    watch.report(Death("db", 137, out_of_memory=True, ran_s=2.0))

    with pytest.raises(OutOfMemory) as caught:
        wait_until_ready({"db": Scripted(never)}, deadline_s=soon(10), watch=watch)

    assert caught.value.message == 'service "db" was killed at its memory limit after 2.0 s'
    assert caught.value.fix[0] == "raise services.db.memory"


def test_control_sequences_of_a_log_stay_out_of_the_cause() -> None:
    """The quoted line cannot change a terminal."""
    watch = Watch()
    watch.report(Death("db", 1, log_tail=("\x1b[2J\x1b]52;c;aGk=\x07gone",)))

    with pytest.raises(ServiceExited) as caught:
        wait_until_ready({"db": Scripted(never)}, deadline_s=soon(10), watch=watch)

    assert "\x1b" not in (caught.value.cause or "")


def test_an_abort_ends_the_wait_with_its_error() -> None:
    """Another part's failure ends the wait as it is."""
    watch = Watch()
    error = EngineFailed("no")
    with later(0.05, lambda: watch.abort(error)), pytest.raises(EngineFailed) as caught:
        wait_until_ready({"db": Scripted(never)}, deadline_s=soon(10), watch=watch)

    assert caught.value is error


def test_the_deadline_names_every_service_and_its_last_answers() -> None:
    """A timeout tells for each service what was waited for, how often it was tried and what was answered last."""
    details = ["one", "two", "three", "four"]

    def talk(number: int) -> Attempt:
        return Attempt(Verdict.NOT_YET, details[min(number, 3)])

    probes = {"ok": Scripted(lambda _: READY), "db": Scripted(talk), "mq": Scripted(never)}
    began = time.monotonic()
    with pytest.raises(ServiceNotReady) as caught:
        wait_until_ready(probes, deadline_s=soon(0.3))

    assert 0.3 <= time.monotonic() - began < 2.0
    assert caught.value.message == '2 services ("db", "mq") were not ready after 0.3 s'
    assert caught.value.subject["services"] == ["db", "mq"]
    text = "\n".join(caught.value.evidence)
    assert "db: waited until it answers the script;" in text
    assert [line.strip() for line in caught.value.evidence[1:4]] == ["two", "three", "four"]
    assert caught.value.evidence[-1].strip() == "not there"


def test_never_ends_the_wait_at_once() -> None:
    """A service that can never become ready is not waited for."""
    began = time.monotonic()
    with pytest.raises(ServiceNotReady) as caught:
        wait_until_ready({"db": Scripted(lambda _: Attempt(Verdict.NEVER, "no such thing"))}, deadline_s=soon(10))

    assert time.monotonic() - began < 2.0
    assert caught.value.message == 'service "db" cannot become ready'
    assert caught.value.cause == "no such thing"


def test_no_attempt_outlives_the_deadline() -> None:
    """An attempt is never given more time than there is."""
    script = Scripted(never)
    with pytest.raises(ServiceNotReady):
        wait_until_ready({"db": script}, deadline_s=soon(0.1))

    assert max(script.limits) <= 0.1


def test_a_signal_gets_through_at_once() -> None:
    """An exception raised by a signal handler ends the wait without delay."""

    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGUSR1, interrupt)
    release = threading.Event()
    try:
        hang = Scripted(lambda _: (release.wait(5), NOT_YET)[1])
        began = time.monotonic()
        with later(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1)), pytest.raises(Interrupted):
            wait_until_ready({"db": hang}, deadline_s=soon(10))
        assert time.monotonic() - began < 2.0
    finally:
        release.set()
        signal.signal(signal.SIGUSR1, previous)


def test_a_bug_in_a_probe_is_not_hidden() -> None:
    """An exception of a probe comes out of the wait instead of dying with its thread."""

    def broken(_: int) -> Attempt:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait_until_ready({"db": Scripted(broken)}, deadline_s=soon(5))


def test_events_tell_changes_only() -> None:
    """Progress is told when the answer changes, not with every try."""
    events: list[ReadyEvent] = []
    script = ["refused"] * 4 + ["starting"] * 3
    answers = [Attempt(Verdict.NOT_YET, word) for word in script] + [READY]
    one_by_one = Pace(short_slots=1, long_slots=0)
    wait_until_ready(
        {"db": Scripted(lambda n: answers[min(n, 7)], one_by_one)}, deadline_s=soon(5), on_event=events.append
    )

    assert [event.attempt.detail for event in events] == ["refused", "starting", "here"]
    assert events[-1].attempts == 8


# -- a password that is refused ------------------------------------------------------------------------------------


def test_a_password_refused_for_long_is_refused_for_good() -> None:
    """A wrong password is borne for a while, because prepared data may get it late; then nobody waits any longer."""
    refused = Attempt(Verdict.NOT_YET, "password refused: another server")
    connection = Connection("db", "postgres", "127.0.0.1", 1)
    handshake = Handshake(connection, lambda _, __: refused, patience_s=0.2)

    assert handshake.attempt(1.0).verdict is Verdict.NOT_YET
    began = time.monotonic()
    with pytest.raises(ServiceNotReady) as caught:
        wait_until_ready({"db": handshake}, deadline_s=soon(10))

    assert time.monotonic() - began < 3.0
    assert caught.value.cause == "password refused: another server"


def test_any_other_answer_starts_the_patience_anew() -> None:
    """Only an uninterrupted refusal is final."""
    answers = iter(["password refused: x", "the database system is starting up", "password refused: x"])
    handshake = Handshake(
        Connection("db", "postgres", "127.0.0.1", 1),
        lambda _, __: Attempt(Verdict.NOT_YET, next(answers)),
        patience_s=0.0,
    )

    assert [handshake.attempt(1).verdict for _ in range(1)] == [Verdict.NEVER]
    assert handshake.attempt(1).verdict is Verdict.NOT_YET


def test_what_a_server_says_is_made_safe() -> None:
    """An answer shows neither the password a server sent back nor a control sequence."""
    said = Attempt(Verdict.NOT_YET, "refuses: hunter22 \x1b[2J" + "x" * 1000)
    connection = Connection("db", "postgres", "127.0.0.1", 1, password="hunter22")

    detail = Handshake(connection, lambda _, __: said).attempt(1.0).detail

    assert detail.startswith("refuses: *** \\x1b[2Jxxx")
    assert len(detail) < 400


# -- one look ------------------------------------------------------------------------------------------------------


def test_check_once_asks_all_at_the_same_time() -> None:
    """One look takes as long as the slowest answer, and a hanging probe no longer than the limit."""
    hang = threading.Event()
    probes = {
        "up": Scripted(lambda _: READY),
        "down": TcpProbe("127.0.0.1", closed_port()),
        "hangs": Scripted(lambda _: (hang.wait(5), NOT_YET)[1]),
    }
    began = time.monotonic()
    answers = check_once(probes, 0.3)
    took = time.monotonic() - began
    hang.set()

    assert list(answers) == ["up", "down", "hangs"]
    assert [answer.verdict for answer in answers.values()] == [Verdict.READY, Verdict.NOT_YET, Verdict.NOT_YET]
    assert answers["hangs"].detail == "no answer within 0.3 s"
    assert took < 1.0


def test_check_once_tries_again() -> None:
    """A single lost connection does not make a running service look broken; three failures do."""
    flaky, broken = Scripted(lambda number: READY if number == 2 else NOT_YET), Scripted(never)

    answers = check_once({"flaky": flaky, "broken": broken}, 1.0)

    assert answers == {"flaky": READY, "broken": NOT_YET}
    assert len(broken.limits) == 3
    assert sum(broken.limits[:1]) <= 1 / 3 + 0.01
