import pytest


@pytest.mark.parametrize("item", ["apple", "pear"])
def test_who_listens_is_told(news, item):
    teller, listener = news
    listener.listen()
    teller.tell(item=item, quantity=2)
    assert listener.next() == {"item": item, "quantity": 2}
