//! Servers that are away when the host starts: it waits, says for whom, and begins when they are there.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use anyhow::ensure;
use mailroom_tests::{SOON, Setup, becomes, in_world};

use crate::arrange::Scripted;

#[test]
fn a_host_waits_for_postgres_and_says_so() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        world.with_postgres(|postgres| postgres.stop()).await?;

        let mut host = world.start_host("a")?;
        let url = world.db.url();
        let address = url.split(['@', '/']).nth(3).unwrap_or("no address");
        host.wait_log(address).await?;
        host.still_runs()?;
        world.with_postgres(|postgres| postgres.restart()).await?;

        becomes("the message is handled", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_waits_for_kafka_and_says_so() {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        world.with_kafka(|kafka| kafka.stop()).await?;

        let mut host = world.start_host("a")?;
        host.wait_log(world.kafka.brokers()).await?;
        host.still_runs()?;
        world.with_kafka(|kafka| kafka.restart()).await?;

        becomes("the message is handled", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_that_waits_for_a_server_can_be_stopped() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        world.with_postgres(|postgres| postgres.stop()).await?;
        let host = world.start_host("a")?;
        host.wait_log("127.0.0.1").await?;
        host.stop().await?;
        world.with_postgres(|postgres| postgres.restart()).await
    });
}

#[test]
fn a_server_that_is_not_postgres_is_told_as_that() {
    in_world(Setup::default(), async |world| {
        // Answers of a web server, of Redis, and of something that sends zeros.
        for (name, answer) in [
            ("web", b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice()),
            ("redis", b"-ERR unknown command\r\n"),
            ("zeros", &[0; 64]),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let url = format!("postgres://u:p@{}/d", listener.local_addr()?);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let answered = stream.read(&mut [0; 64]).and_then(|_| stream.write_all(answer));
                    drop(answered);
                }
            });
            let env = [("MAILROOM__POSTGRES__URL", url.as_str())];
            let mut host = world.start_host_with(name, &env)?;
            host.wait_log("what answers there is not Postgres").await?;
            host.wait_log("refuses; waiting until somebody acts (0 s so far): check the configuration")
                .await?;
            world
                .mailroom_with(&["status"], &env)
                .await?
                .refused(4, &["what answers there is not Postgres"])?;
            host.still_runs()?;
            ensure!(!host.log()?.contains("own fault"), "{}", host.log()?);
            host.stop().await?;
        }
        Ok(())
    });
}
