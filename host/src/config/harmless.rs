//! Properties of librdkafka that may be seen.

/// Properties whose values name no secret: times, sizes, switches, names and places of files. A property that
/// a later version of librdkafka brings is hidden until it stands here.
const HARMLESS: &str = "\
    acks api.version.fallback.ms api.version.request api.version.request.timeout.ms auto.commit.interval.ms \
    auto.offset.reset batch.num.messages batch.size bootstrap.servers broker.address.family \
    broker.address.ttl broker.version.fallback check.crcs client.dns.lookup client.id client.rack \
    compression.codec compression.level compression.type connections.max.idle.ms \
    coordinator.query.interval.ms debug delivery.timeout.ms enable.auto.commit enable.auto.offset.store \
    enable.gapless.guarantee enable.idempotence enable.metrics.push enable.partition.eof \
    enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification fetch.error.backoff.ms \
    fetch.max.bytes fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms fetch.wait.max.ms \
    group.id group.instance.id group.protocol group.protocol.type group.remote.assignor \
    heartbeat.interval.ms https.ca.location isolation.level linger.ms log.connection.close log.queue \
    log.thread.name log_level max.in.flight max.in.flight.requests.per.connection max.partition.fetch.bytes \
    max.poll.interval.ms message.copy.max.bytes message.max.bytes message.send.max.retries \
    message.timeout.ms metadata.broker.list metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms \
    metadata.recovery.strategy partition.assignment.strategy partitioner plugin.library.paths \
    queue.buffering.backpressure.threshold queue.buffering.max.kbytes queue.buffering.max.messages \
    queue.buffering.max.ms queued.max.messages.kbytes queued.min.messages queuing.strategy \
    receive.message.max.bytes reconnect.backoff.jitter.ms reconnect.backoff.max.ms reconnect.backoff.ms \
    request.required.acks request.timeout.ms retries retry.backoff.max.ms retry.backoff.ms \
    sasl.kerberos.keytab sasl.kerberos.min.time.before.relogin sasl.kerberos.principal \
    sasl.kerberos.service.name sasl.mechanism sasl.mechanisms sasl.oauthbearer.assertion.algorithm \
    sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.jwt.template.file \
    sasl.oauthbearer.assertion.private.key.file sasl.oauthbearer.grant.type sasl.oauthbearer.method \
    sasl.oauthbearer.scope sasl.username security.protocol session.timeout.ms socket.blocking.max.ms \
    socket.connection.setup.timeout.ms socket.keepalive.enable socket.max.fails socket.nagle.disable \
    socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms ssl.ca.certificate.stores \
    ssl.ca.location ssl.certificate.location ssl.cipher.suites ssl.crl.location ssl.curves.list \
    ssl.endpoint.identification.algorithm ssl.engine.id ssl.engine.location ssl.key.location \
    ssl.keystore.location ssl.providers ssl.sigalgs.list statistics.interval.ms \
    sticky.partitioning.linger.ms topic.metadata.propagation.max.ms topic.metadata.refresh.fast.cnt \
    topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms topic.metadata.refresh.sparse \
    transaction.timeout.ms transactional.id";

/// Tells whether its value may be shown.
pub(super) fn is_harmless(property: &str) -> bool {
    HARMLESS.split_ascii_whitespace().any(|harmless| harmless == property)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_be_harmless_is_hidden() {
        for shown in ["security.protocol", "sasl.username", "message.max.bytes", "ssl.key.location", "acks"] {
            assert!(is_harmless(shown), "{shown}");
        }
        for hidden in [
            "sasl.password",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.extensions",
            "sasl.kerberos.kinit.cmd",
            "ssl.key.pem",
            "sasl.new.in.a.later.version",
            "",
        ] {
            assert!(!is_harmless(hidden), "{hidden}");
        }
    }
}
