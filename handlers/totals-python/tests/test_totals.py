import unittest

from mailroom_guest import Reject
from mailroom_guest.testing import TestHost, message
from totals import handle


class Totals(unittest.TestCase):
    def test_an_order_is_added_to_its_customers_total(self) -> None:
        host = TestHost(keyed={"ada": {"total_cents": 100}})
        order = {"customer": "ada", "amount_cents": 4200}

        call = host.invoke(handle, message(order, event_type="order.placed", key="ada"))

        self.assertIsNone(call.end)
        self.assertEqual(host.keyed("ada"), {"total_cents": 4300})
        (published,) = call.published
        self.assertEqual((published.topic, published.key), ("totals", "ada"))
        self.assertEqual(published.json(), {"customer": "ada", "total_cents": 4300})

    def test_a_payload_that_is_no_json_is_rejected_and_changes_nothing(self) -> None:
        host = TestHost()

        call = host.invoke(handle, message("{oops", key="ada"))

        self.assertIsInstance(call.end, Reject)
        self.assertEqual((call.published, host.keyed("ada")), ([], {}))
