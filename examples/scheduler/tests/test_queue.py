import baseline


def test_the_queue_is_first_come_first_served(queue):
    assert queue.push("default", 101) == 2
    assert [queue.take("default") for _ in range(3)] == [100, 101, None]


def test_queues_are_apart(queue):
    assert queue.push("heavy", 101) == 1
    assert queue.take("mail") is None


def test_there_is_one_leader(queue, store):
    assert not queue.lead("worker-2", 10)
    assert store.get("leader") == "worker-1"


def test_who_comes_after_the_leader_has_gone_leads(queue, store):
    store.delete("leader")
    assert queue.lead("worker-2", 10)
    assert store.get("leader") == "worker-2"
    assert store.ttl("leader") <= 10


def test_a_leader_may_stay_for_ever(store):
    assert store.persist("leader") == 1
    assert store.ttl("leader") == -1


def test_workers_come_and_go(store):
    store.srem("workers:online", "worker-1", "worker-2")
    store.sadd("workers:online", "worker-9")
    assert store.smembers("workers:online") == {"worker-3", "worker-9"}


def test_a_store_that_is_lost_is_noticed(store):
    store.flushdb()
    assert baseline.keys_of(store) == {}


def test_a_key_may_become_something_else(store):
    store.rename("zone", "place")
    store.rpush("zone", "a", "b")
    assert (store.type("zone"), store.get("place")) == ("list", "UTC")


def test_old_news_go(store):
    store.xtrim("news", maxlen=1, approximate=False)
    assert [fields["run"] for _, fields in store.xrange("news")] == ["100"]


def test_a_group_of_readers_has_the_news_once(store):
    def read():
        return [len(messages) for _, messages in store.xreadgroup("mailers", "one", {"news": ">"})]

    store.xgroup_create("news", "mailers", id="0")
    assert read() == [2]
    assert read() == []
