//! A consumer that Kafka or its library gave up: its partitions are revoked, and another one joins.

use super::turn::Turns;

impl Turns {
    /// Drops the consumer and all that it was assigned. What is in Postgres goes on.
    pub(super) async fn rejoin(&mut self, error: &str) {
        let wait = self.consumer.rejoin();
        let group = &self.ingest.handler.group;
        tracing::error!(
            messaging.consumer.group.name = %group,
            "The consumer of group {group} is given up: {error}. Its partitions are free for others; another one \
             joins in {} s. If this repeats, check that this user may read group {group} and that nothing else uses it",
            wait.as_secs()
        );
        let assigned = self.places(|partition| partition.assigned);
        self.revoked(&assigned).await;
    }

    /// A consumer that repeats one error is given up if Kafka answers others.
    pub(super) async fn on_repeated_error(&mut self, error: &str) {
        match self.finder.topics.describe(self.subscribed.clone()).await {
            Ok(_) => self.rejoin(error).await,
            Err(away) => {
                self.consumer.is_not_to_blame();
                self.kafka.failed(&away);
            }
        }
    }
}
