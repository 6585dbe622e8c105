import pytest
from orders.shop import SoldOut


@pytest.mark.parametrize("quantity", [1, 2, 3])
def test_an_order_takes_from_the_stock(shop, quantity):
    assert shop.place("apple", quantity) == 1
    assert shop.stock("apple") == 10 - quantity
    assert shop.sold("apple") == quantity


@pytest.mark.parametrize("quantity", [4, 100])
def test_what_is_not_there_cannot_be_ordered(shop, quantity):
    with pytest.raises(SoldOut):
        shop.place("pear", quantity)
    assert shop.stock("pear") == 3
    assert shop.sold("pear") == 0


def test_orders_are_counted(shop):
    assert [shop.place("apple", 1) for _ in range(3)] == [1, 2, 3]
