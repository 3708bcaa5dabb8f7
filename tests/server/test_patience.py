"""What is due after a while."""

from server.patience import Patience


def test_calls_come_in_order_and_not_before_their_time() -> None:
    now_us = 0
    called: list[int] = []
    patience = Patience(lambda: now_us, 100)
    assert patience.due_us is None
    patience.wait(lambda: called.append(1))
    now_us = 50
    patience.wait(lambda: called.append(2))
    assert patience.due_us == 100
    now_us = 100
    patience.tick()
    assert called == [1]
    now_us = 149
    patience.tick()
    assert called == [1]
    now_us = 1000
    patience.tick()
    assert called == [1, 2]
    assert patience.due_us is None
