import unittest

from handler import handle
from mailroom_guest.testing import TestHost, message


class Orders(unittest.TestCase):
    def test_an_order_is_added_to_its_customers_total(self) -> None:
        host = TestHost(keyed={"ada": {"total_cents": 100}})
        order = {"customer": "ada", "amount_cents": 4200}

        call = host.invoke(handle, message(order, event_type="order.placed", key="ada"))

        self.assertIsNone(call.end)
        self.assertEqual(host.keyed("ada"), {"total_cents": 4300})
        self.assertEqual(len(call.published), 1)
