//! Checks of what must hold between two events.

use std::collections::BTreeSet;

use super::RelayMachine;

impl<R: Clone> RelayMachine<R> {
    /// Counts the rows that were read and are not marked yet.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        self.lanes.in_hand()
    }

    /// Says what does not hold: each row in hand is somewhere, what topics count is what is in flight, and what is in
    /// hand has its bound.
    ///
    /// # Errors
    /// Where something does not.
    pub fn check(&self) -> Result<(), String> {
        let mut held: BTreeSet<(i32, i64)> = BTreeSet::new();
        let flights = self.flights.values().map(|flight| &flight.row);
        let queued = self.sides.iter().flat_map(|side| &side.work).flat_map(|work| &work.queue);
        let refused = self.refused.iter().map(|(row, _)| row);
        let acknowledged = self.acknowledged.iter().map(|published| &published.row);
        held.extend(flights.chain(queued).chain(refused).chain(acknowledged).map(|row| (row.lane, row.seq)));
        if let Some(batch) = &self.marking {
            held.extend(batch.published.iter().map(|published| (published.row.lane, published.row.seq)));
            held.extend(batch.refused.iter().map(|(row, _)| (row.lane, row.seq)));
        }
        for (_, topic) in self.topics.iter() {
            held.extend(topic.unsent.iter().map(|(_, row)| (row.lane, row.seq)));
        }
        if let Some((lane, seq)) = self.lanes.rows_in_hand().find(|row| !held.contains(row)) {
            return Err(format!("row {seq} of lane {lane} is in hand, and nobody has it"));
        }
        for (id, topic) in self.topics.iter() {
            let of_topic = self.flights.values().filter(|flight| flight.topic == id);
            let (count, bytes) =
                of_topic.fold((0, 0), |(count, bytes), flight| (count + 1, bytes + flight.row.bytes));
            if (topic.in_flight, topic.bytes_in_flight) != (count, bytes) {
                return Err(format!(
                    "topic {} counts {} records of {} bytes in flight, and has {count} of {bytes}",
                    topic.name, topic.in_flight, topic.bytes_in_flight
                ));
            }
        }
        // What waits for held topics counts apart, as many again.
        let most = 2 * self.settings.in_flight_max;
        let in_hand = self.lanes.in_hand();
        if in_hand > most {
            return Err(format!("{in_hand} rows are in hand, where {most} may be"));
        }
        // Each kind of look may bring a row that exceeds what there was room for.
        let most = self.settings.in_flight_bytes_max.saturating_mul(2);
        let most = most.saturating_add(3 * self.lanes.largest_in_hand());
        let bytes = self.lanes.bytes_in_hand();
        if bytes > most {
            return Err(format!("{bytes} bytes are in hand, where {most} may be"));
        }
        Ok(())
    }
}
